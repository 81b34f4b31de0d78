/** Running commands from the scripts: streamed or captured, always with an end. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const cache = join(root, ".cache");

/** An error whose message is meant for the person at the terminal; `stack` is not shown. */
export class Stop extends Error {}

/**
 * Runs a command. `output: "inherit"` streams, `"quiet"` keeps it and shows it only when the command fails. Resolves with
 * `{ code, text }`; never rejects because the command failed, unless `check` is set.
 */
export function run(command, args, { cwd = root, env, output = "inherit", timeoutMs = 900_000, check = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", ...(output === "inherit" ? ["inherit", "inherit"] : ["pipe", "pipe"])],
    });
    let text = "";
    let late = false;
    child.stdout?.setEncoding("utf8").on("data", (part) => {
      text += part;
    });
    child.stderr?.setEncoding("utf8").on("data", (part) => {
      text += part;
    });
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 5_000).unref();
    }, timeoutMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new Stop(`${command} could not be started: ${error.message}`));
    });
    child.once("close", (status, signal) => {
      clearTimeout(timer);
      const code = status ?? 128;
      if (check && (code !== 0 || late)) {
        const how = late ? `did not end within ${timeoutMs / 1000} s` : `ended with ${signal ?? `code ${code}`}`;
        reject(new Stop(`${[command, ...args].join(" ")} ${how}\n${text.trimEnd()}`));
      } else resolve({ code: late ? 124 : code, text, late });
    });
  });
}

const extraFolders = [
  "/usr/sbin",
  "/usr/local/sbin",
  "/usr/lib/rabbitmq/bin",
  "/opt/homebrew/sbin",
  "/opt/homebrew/bin",
];

/** The path of a program, or `undefined`. Servers often live outside a user's PATH. */
export function findProgram(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...extraFolders];
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export function say(text) {
  process.stdout.write(`${text}\n`);
}

/** Runs a script's main function: a `Stop` is one line and exit code 1, anything else is a crash with its stack. */
export async function main(body) {
  try {
    process.exitCode = (await body(process.argv.slice(2))) ?? 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Stop ? error.message : (error?.stack ?? error)}\n`);
    process.exitCode = 1;
  }
}
