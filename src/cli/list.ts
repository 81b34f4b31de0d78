/** `lovage list queues` and `lovage list tasks`. */

import type { Celery } from "../app.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { ANSWER_S, withBroker } from "./broker.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { print } from "./output.ts";

export const list: Command = {
  name: "list",
  summary: "list the app's queues, with their lengths, or its tasks",
  usage: "queues|tasks [-Q queues] [--json]",
  about: [
    "queues: how many messages wait and, where the broker knows (RabbitMQ), how many consume; a dash is what nobody knows.",
    "tasks: the names the app defines, whether a worker of it runs them (here) or another one must (elsewhere), parameters.",
  ].join("\n"),
  examples: [
    "lovage list queues -A ./app.js",
    "lovage list queues -Q celery,mail -b redis://localhost:6379/0",
    "lovage list tasks -A ./app.js",
  ],
  flags: {
    ...APP_FLAGS,
    queues: { type: "string", short: "Q", multiple: true, value: "NAMES", help: "queues to look at, comma separated" },
    json: { type: "boolean", short: "j", help: "one JSON document" },
  },
  async run(given) {
    const [what, ...more] = given.words;
    if (what !== "queues" && what !== "tasks") {
      throw new UsageError(
        what === "bindings"
          ? "bindings is Celery's; here there are queues and tasks, and `celery list bindings` shows those of this fleet too"
          : "list what: queues or tasks?",
      );
    }
    if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`);
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level, what === "tasks");
    const rows = what === "tasks" ? tasksOf(app) : await queuesOf(app, given.list("queues"));
    if (given.on("json")) print(JSON.stringify(rows));
    else for (const line of table(rows)) print(line);
    return EXIT.ok;
  },
};

type Row = Record<string, string | number | null>;

function tasksOf(app: Celery): Row[] {
  return [...app.tasks.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((task) => ({
      task: task.name,
      runs: task.handler === null ? "elsewhere" : "here",
      parameters: task.params === null ? "any" : Object.keys(task.params).join(", "),
    }));
}

async function queuesOf(app: Celery, names: readonly string[]): Promise<Row[]> {
  const queues = names.length > 0 ? names : app.queues.configured.map((queue) => queue.name);
  const rows: Row[] = [];
  await withBroker(app, ANSWER_S * 1000, async (transport) => {
    for (const queue of queues) {
      const found = await transport.inspectQueue(queue);
      rows.push({ queue, messages: found?.messages ?? null, consumers: found?.consumers ?? null });
    }
  });
  return rows;
}

/** Columns as wide as they must be; a dash for what is not known. */
function table(rows: readonly Row[]): string[] {
  const first = rows[0];
  if (first === undefined) return [];
  const names = Object.keys(first);
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? "-")))];
  const widths = names.map((_name, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
