/**
 * Private Python environments with pinned packages, in `.cache/python/<name>/`, made once and kept until the pins change.
 *
 *   node scripts/python-env.mjs [celery-5.7.0 ...]      makes them and prints each interpreter's path
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { cache, findProgram, main, root, run, Stop, say } from "./lib/run.mjs";
import { installSystemPackages } from "./lib/system-packages.mjs";

const fixtures = join(root, "python-fixtures");
const oldestPython = [3, 9];

/** The Celery environments of the interop matrix, the version that Lovage follows first. */
export const celeryEnvironments = ["celery-5.7.0", "celery-5.6.3", "celery-5.4.0"];
/** The environment of the Mognet tests. */
export const mognetEnvironment = "mognet-2.0.0";

/** Every `requirements-<name>.txt`. */
export function environmentNames() {
  return readdirSync(fixtures)
    .map((file) => /^requirements-(.+)\.txt$/.exec(file)?.[1])
    .filter(Boolean);
}

/** The path of a usable Python 3, or `undefined`. */
export async function findPython() {
  for (const name of [process.env.LOVAGE_PYTHON, "python3", "python"].filter(Boolean)) {
    const path = name.includes("/") ? name : findProgram(name);
    if (!path) continue;
    const probe = `import sys; print(sys.version_info >= (${oldestPython.join(",")}), sys.executable)`;
    const { code, text } = await run(path, ["-c", probe], { output: "quiet", timeoutMs: 20_000 }).catch(() => ({
      code: 1,
    }));
    const answer = /^True (.+)$/m.exec(text ?? "");
    if (code === 0 && answer) return answer[1];
  }
  return undefined;
}

/** Makes the named environments, those that are missing at the same time. Resolves with name -> path of the interpreter. */
export async function pythonEnvironments(names) {
  const missing = names.filter((name) => !isComplete(name));
  if (missing.length > 0) {
    const python = (await findPython()) ?? (await installPython());
    await needVenv(python);
    say(`making Python environments: ${missing.join(", ")}`);
    // Settled, not all: a second failure is worth as much as the first, and nothing must run on after we give up.
    const made = await Promise.allSettled(missing.map((name) => make(python, name)));
    const failed = made.filter(({ status }) => status === "rejected");
    if (failed.length > 0) throw new Stop(failed.map(({ reason }) => reason.message).join("\n"));
  }
  return Object.fromEntries(names.map((name) => [name, interpreter(name)]));
}

const folderOf = (name) => join(cache, "python", name);
const interpreter = (name) => join(folderOf(name), "bin", "python");
const requirementsOf = (name) => join(fixtures, `requirements-${name}.txt`);
const markerOf = (name) => join(folderOf(name), "complete");

function fingerprint(name) {
  return createHash("sha256")
    .update(readFileSync(requirementsOf(name)))
    .update(folderOf(name))
    .digest("hex");
}

function isComplete(name) {
  const marker = markerOf(name);
  return existsSync(interpreter(name)) && existsSync(marker) && readFileSync(marker, "utf8") === fingerprint(name);
}

async function make(python, name) {
  const folder = folderOf(name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(cache, "python"), { recursive: true });
  await run(python, ["-m", "venv", folder], { output: "quiet", check: true });
  const pip = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "-r",
    requirementsOf(name),
  ];
  // A registry that hiccups once should not cost a whole run.
  const first = await run(interpreter(name), pip, { output: "quiet" });
  if (first.code !== 0) await run(interpreter(name), pip, { output: "quiet", check: true });
  writeFileSync(markerOf(name), fingerprint(name));
}

async function installPython() {
  if (await installSystemPackages(["python3", "python3-venv"])) {
    const python = await findPython();
    if (python) return python;
  }
  throw new Stop(
    `Python ${oldestPython.join(".")} or newer is needed and was not found (python3, python; or set LOVAGE_PYTHON)`,
  );
}

/** Debian keeps what `python3 -m venv` needs in a package of its own. */
async function needVenv(python) {
  const works = async () => (await run(python, ["-c", "import ensurepip, venv"], { output: "quiet" })).code === 0;
  if (await works()) return;
  await installSystemPackages(["python3-venv"]);
  if (!(await works())) {
    throw new Stop(
      `${python} cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)`,
    );
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async (args) => {
    const made = await pythonEnvironments(args.length > 0 ? args : [...celeryEnvironments, mognetEnvironment]);
    for (const [name, path] of Object.entries(made)) say(`${name} ${path}`);
    return 0;
  });
}
