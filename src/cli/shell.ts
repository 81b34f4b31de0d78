/** `lovage shell`: a prompt with the app and its tasks at hand. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { type REPLServer, start } from "node:repl";
import { PassThrough } from "node:stream";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import { signature } from "../canvas/signature-from.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { complain } from "./output.ts";

export const shell: Command = {
  name: "shell",
  summary: "open a prompt with the app at hand",
  usage: "-A ./app.js [-T]",
  about: [
    "A Node prompt in which app, its tasks (by the last part of their names), chain, group, chord and signature are defined, and",
    "await works. ^D ends it, and closes the app.",
  ].join("\n"),
  examples: ["lovage shell -A ./app.js", "echo 'await app.control.ping()' | lovage shell -A ./app.js"],
  flags: {
    ...APP_FLAGS,
    "without-tasks": { type: "boolean", short: "T", help: "do not define the tasks" },
  },
  async run(given) {
    if (given.words.length > 0) throw new UsageError(`unexpected ${given.words.join(" ")}`);
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level);
    const names: Record<string, unknown> = { app, celery: app, chain, group, chord, signature };
    if (!given.on("without-tasks")) {
      for (const task of app.tasks.values()) {
        const short = /([A-Za-z_$][\w$]*)$/.exec(task.name)?.[1];
        if (short !== undefined && !Object.hasOwn(names, short)) names[short] = task;
      }
    }
    if (process.stdin.isTTY === true && !given.on("quiet")) complain(`${Object.keys(names).join(", ")}\n`);
    const ended = process.stdin.isTTY === true ? openPrompt(names) : answerLines(names);
    await ended;
    return EXIT.ok;
  },
};

async function openPrompt(names: Record<string, unknown>): Promise<void> {
  const prompt = start({ prompt: "> ", useGlobal: false });
  Object.assign(prompt.context, names);
  await once(prompt, "exit");
}

/** What is piped in: each line when the one before it has been answered. Node's prompt by itself takes all at once. */
async function answerLines(names: Record<string, unknown>): Promise<void> {
  const input = new PassThrough();
  const prompt = start({ prompt: "", input, output: process.stdout, terminal: false, useGlobal: false });
  Object.assign(prompt.context, names);
  const ended = once(prompt, "exit");
  for await (const line of createInterface({ input: process.stdin })) {
    const answered = nextPrompt(prompt);
    input.write(`${line}\n`);
    await Promise.race([answered, ended]);
  }
  input.end();
  await ended;
}

/** The prompt is shown again, be it without a text, when a line has been answered, has thrown, or wants another. */
function nextPrompt(prompt: REPLServer): Promise<void> {
  return new Promise((resolve) => {
    prompt.displayPrompt = () => {
      resolve();
    };
  });
}
