/** `lovage purge`: deletes the waiting messages of queues. */
import { createInterface } from "node:readline/promises";
import { QueueNotFound } from "../transports/errors.ts";
import type { Transport } from "../transports/transport.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { ANSWER_S, withBroker } from "./broker.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { print } from "./output.ts";

export const purge: Command = {
  name: "purge",
  summary: "delete the waiting messages of queues",
  usage: "[-f] [-Q queues] [-X queues] [--json]",
  about:
    "Deletes what waits in the queues of the app or of -Q, for good. What workers hold already survives. Asks first, unless -f.",
  examples: ["lovage purge -A ./app.js", "lovage purge -f -Q mail,images -b redis://localhost:6379/0"],
  flags: {
    ...APP_FLAGS,
    force: { type: "boolean", short: "f", help: "do not ask" },
    queues: { type: "string", short: "Q", multiple: true, value: "NAMES", help: "queues to purge, comma separated" },
    json: { type: "boolean", short: "j", help: "one JSON document" },
    "exclude-queues": { type: "string", short: "X", multiple: true, value: "NAMES", help: "queues to leave alone" },
  },
  async run(given) {
    const { words } = given;
    if (words.length > 0) throw new UsageError(`unexpected ${words.join(" ")}; queues are named with -Q`);
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level);
    const excluded = new Set(given.list("exclude-queues"));
    const named = given.list("queues");
    const names = (named.length > 0 ? named : app.queues.configured.map((queue) => queue.name)).filter(
      (name) => !excluded.has(name),
    );
    if (names.length === 0) throw new UsageError("no queue is left to purge");
    if (!given.on("force") && !(await agreed(names))) return EXIT.failed;
    const json = given.on("json");
    const rows: { queue: string; deleted: number | null }[] = [];
    await withBroker(app, ANSWER_S * 1000, async (transport) => {
      for (const queue of names) {
        const deleted = await purgeOne(transport, queue);
        rows.push({ queue, deleted });
        if (!json) print(`${queue}: ${deleted ?? "no such queue"}`);
      }
    });
    if (json) print(JSON.stringify(rows));
    else print(summary(rows));
    return EXIT.ok;
  },
};

/** Null: there is no such queue. */
async function purgeOne(transport: Transport, queue: string): Promise<number | null> {
  try {
    return await transport.purge(queue);
  } catch (error) {
    if (error instanceof QueueNotFound) return null;
    throw error;
  }
}

function summary(rows: readonly { deleted: number | null }[]): string {
  const total = rows.reduce((sum, { deleted }) => sum + (deleted ?? 0), 0);
  const messages = total === 1 ? "message" : "messages";
  return `${total} ${messages} deleted from ${rows.length} ${rows.length === 1 ? "queue" : "queues"}`;
}

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
