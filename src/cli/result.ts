/** `lovage result`: waits for the result of a task by id. */
import { APP_FLAGS, applyAppFlags, levelOf, openApp } from "./app-flags.ts";
import { type Command, EXIT, print, UsageError } from "./command.ts";
import { showResult } from "./show-result.ts";

export const result: Command = {
  name: "result",
  summary: "print the result of a task",
  usage: "ID [--timeout SECONDS] [--traceback | --state]",
  about: "Waits until the task has ended and prints its value as JSON. A failed task ends the command with 1.",
  examples: ["lovage result 5c1d… --result-backend redis://localhost:6379/0", "lovage result 5c1d… --state"],
  flags: {
    ...APP_FLAGS,
    timeout: { type: "string", value: "SECONDS", help: "how long to wait (default: for ever)" },
    traceback: { type: "boolean", help: "print the traceback of a failed task" },
    state: { type: "boolean", help: "print the state and do not wait" },
  },
  async run(given) {
    const [id, ...more] = given.words;
    if (id === undefined) throw new UsageError("the result of which task id?");
    if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`);
    applyAppFlags(given);
    await using app = await openApp(given, levelOf(given, "warn"));
    const found = app.result(id);
    if (!given.on("state")) return showResult(found, given);
    print(await found.state());
    return EXIT.ok;
  },
};
