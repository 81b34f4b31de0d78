/** `lovage graph workers`: the fleet as a drawing in DOT. wire: celery/bin/graph.py `workers`. */
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { print } from "./output.ts";

export const graph: Command = {
  name: "graph",
  summary: "draw the workers of the fleet and their queues, in DOT",
  usage: "workers [-t SECONDS] [--json]",
  about: [
    "Asks the workers that answer for the queues they consume and writes both as a graph for Graphviz, an edge from each queue",
    "to each of its workers: lovage graph workers | dot -Tsvg.",
    "Celery's other graph, bootsteps, draws the insides of its worker, which are none of ours.",
  ].join("\n"),
  examples: ["lovage graph workers -A ./app.js | dot -Tpng -o fleet.png", "lovage graph workers --json"],
  flags: {
    ...APP_FLAGS,
    timeout: {
      type: "string",
      short: "t",
      value: "SECONDS",
      help: "silence after which nobody else is waited for (default 1)",
    },
    json: { type: "boolean", short: "j", help: "nodes and edges as one JSON document" },
  },
  remote: true,
  async run(given) {
    const [what, ...more] = given.words;
    if (what !== "workers") {
      throw new UsageError(
        what === "bootsteps" ? "graph what: workers; bootsteps are Celery's, ours has none" : "graph what: workers",
      );
    }
    if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`);
    const timeout = given.number("timeout") ?? 1;
    if (timeout <= 0) throw new UsageError("--timeout is a number of seconds, above 0");
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level);
    const inspect = app.control.inspect({ timeout });
    const [stats, queues] = await Promise.all([inspect.stats(), inspect.activeQueues()]);
    const workers = Object.keys(stats ?? {}).sort();
    const edges: { worker: string; queue: string }[] = [];
    for (const worker of workers) {
      for (const queue of listOf(queues?.[worker])) edges.push({ worker, queue });
    }
    if (given.on("json"))
      print(JSON.stringify({ workers, queues: [...new Set(edges.map(({ queue }) => queue))], edges }));
    else for (const line of dot(workers, edges)) print(line);
    return EXIT.ok;
  },
};

function listOf(queues: unknown): string[] {
  if (!Array.isArray(queues)) return [];
  return queues.flatMap((queue: unknown) =>
    typeof queue === "object" && queue !== null && "name" in queue ? [String(queue.name)] : [],
  );
}

function dot(workers: readonly string[], edges: readonly { worker: string; queue: string }[]): string[] {
  const quoted = (text: string) => JSON.stringify(text);
  return [
    "digraph fleet {",
    "  rankdir=LR;",
    ...[...new Set(edges.map(({ queue }) => queue))].map(
      (queue) => `  ${quoted(`queue ${queue}`)} [shape=cds, label=${quoted(queue)}];`,
    ),
    ...workers.map((worker) => `  ${quoted(worker)} [shape=box];`),
    ...edges.map(({ worker, queue }) => `  ${quoted(`queue ${queue}`)} -> ${quoted(worker)};`),
    "}",
  ];
}
