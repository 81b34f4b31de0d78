/** `lovage result`: waits for the result of a task by id. */
import { TimeoutError } from "../tasks/errors.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { print } from "./output.ts";
import { showResult, tracebackOf } from "./show-result.ts";

export const result: Command = {
  name: "result",
  summary: "print the result of a task",
  usage: "ID [--timeout SECONDS] [--traceback | --state]",
  about: [
    "Waits until the task has ended, wherever it ran, and prints its value as JSON. A failed task ends the command with 1 and",
    "its traceback goes to standard error.",
  ].join("\n"),
  examples: [
    "lovage result 5c1d7c2e-… --result-backend redis://localhost:6379/0",
    "lovage result 5c1d7c2e-… -A ./app.js --state",
  ],
  flags: {
    ...APP_FLAGS,
    task: { type: "string", short: "t", value: "NAME", help: "name of the task: its definition checks the value" },
    timeout: { type: "string", value: "SECONDS", help: "how long to wait (default: for ever)" },
    traceback: { type: "boolean", help: "print the traceback instead of the value" },
    state: { type: "boolean", help: "print the state, and do not wait" },
  },
  async run(given) {
    const [id, ...more] = given.words;
    if (id === undefined) throw new UsageError("the result of which task id?");
    if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`);
    const timeout = given.number("timeout");
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level);
    const definition = app.tasks.get(given.text("task") ?? "");
    const found = definition === undefined ? app.result(id) : app.result(id, definition);
    if (given.on("state")) {
      print(await found.state());
      return EXIT.ok;
    }
    if (!given.on("traceback")) return await showResult(found, timeout);
    try {
      await found.get(timeout === undefined ? {} : { timeout: timeout * 1000 });
      print("none: the task has not failed");
    } catch (error) {
      if (error instanceof TimeoutError) throw error;
      print(tracebackOf(error) ?? (error instanceof Error ? error.message : String(error)));
    }
    return EXIT.ok;
  },
};
