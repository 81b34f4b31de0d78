/** `lovage purge`: deletes the waiting messages of queues. */
import { createInterface } from "node:readline/promises";
import { QueueNotFound } from "../transports/errors.ts";
import { APP_FLAGS, applyAppFlags, levelOf, openApp } from "./app-flags.ts";
import { type Command, EXIT, print, UsageError } from "./command.ts";

export const purge: Command = {
  name: "purge",
  summary: "delete the waiting messages of queues",
  usage: "[-f] [-Q queues] [-X queues]",
  about:
    "Deletes what waits in the queues of the app or of -Q, for good. What workers hold already survives. Asks first, unless -f.",
  examples: ["lovage purge -A ./app.js", "lovage purge -f -Q mail,images -b redis://localhost:6379/0"],
  flags: {
    ...APP_FLAGS,
    force: { type: "boolean", short: "f", help: "do not ask" },
    queues: { type: "string", short: "Q", multiple: true, value: "NAMES", help: "queues to purge, comma separated" },
    "exclude-queues": { type: "string", short: "X", multiple: true, value: "NAMES", help: "queues to leave alone" },
  },
  async run(given) {
    applyAppFlags(given);
    await using app = await openApp(given, levelOf(given, "warn"));
    const excluded = new Set(given.list("exclude-queues"));
    const named = given.list("queues");
    const names = (named.length > 0 ? named : app.queues.configured.map((queue) => queue.name)).filter(
      (n) => !excluded.has(n),
    );
    if (names.length === 0) throw new UsageError("no queue is left to purge");
    if (!given.on("force") && !(await agreed(names))) return EXIT.failed;
    await app.transport.connect();
    let total = 0;
    for (const name of names) {
      try {
        const count = await app.transport.purge(name);
        total += count;
        print(`${name}: ${count}`);
      } catch (error) {
        if (!(error instanceof QueueNotFound)) throw error;
        print(`${name}: no such queue`);
      }
    }
    print(
      `${total} ${total === 1 ? "message" : "messages"} deleted from ${names.length} ${names.length === 1 ? "queue" : "queues"}`,
    );
    return EXIT.ok;
  },
};

async function agreed(names: readonly string[]): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError("nobody to ask: add -f to delete without asking");
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question(`Delete all waiting messages of ${names.join(", ")}? (yes/no) `);
    return answer.trim().toLowerCase() === "yes";
  } finally {
    asking.close();
  }
}
