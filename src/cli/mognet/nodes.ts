/** `lovage mognet nodes`: who works for the app, in either language, and on what. wire: mognet/cli/nodes.py. */
import type { Mognet } from "../../app/mognet.ts";
import type { Result } from "../../client/mognet/result.ts";
import { plainResult } from "../../client/mognet/result-tree.ts";
import { EXIT, type Given, UsageError } from "../command.ts";
import { print } from "../output.ts";
import { labelFormat } from "./label.ts";
import { formatOf, indentOf, labelOf, repeatedly } from "./shared.ts";
import { pythonTime, simpleTable } from "./table.ts";

/** Seconds. Mognet's command waits 30, and shows nobody under pydantic 2. */
const ANSWERS_S = 5;

interface Node {
  nodeId: string;
  running: Result[];
  ids: readonly string[];
}

export async function nodesList(app: Mognet, given: Given): Promise<number> {
  const nodes = await ask(app, given);
  if (given.on("json"))
    print(JSON.stringify(nodes.map(({ nodeId, ids }) => ({ node_id: nodeId, running_requests: ids.length }))));
  else {
    const rows = nodes.map(({ nodeId, ids }) => [nodeId, ids.length]);
    for (const line of simpleTable(rows, ["Node name", "Running requests"])) print(line);
  }
  return EXIT.ok;
}

export async function nodesStatus(app: Mognet, given: Given): Promise<number> {
  const label = labelFormat(labelOf(given));
  const format = formatOf(given);
  await repeatedly(given, async () => {
    const nodes = await ask(app, given);
    const found = await app.getResults([...new Set(nodes.flatMap(({ ids }) => ids))]);
    const byId = new Map(found.map((result) => [result.id, result]));
    for (const node of nodes) {
      node.running = node.ids.flatMap((id) => byId.get(id) ?? []).sort((a, b) => createdMs(a) - createdMs(b));
    }
    if (format === "json") {
      const report = nodes.map(({ nodeId, running }) => ({
        node_id: nodeId,
        running_requests: running.map(({ record }) => plainResult(record)),
      }));
      print(JSON.stringify({ node_status: report }, undefined, indentOf(given)));
      return;
    }
    print(`${nodes.length} nodes replied as of ${pythonTime(new Date().toISOString().slice(0, -1))}:`);
    const rows = nodes.map(({ nodeId, running }) => [nodeId, running.map(label).join("\n") || "(Empty)"]);
    for (const line of simpleTable(rows, ["Node name", "Running requests"])) print(line);
  });
  return EXIT.ok;
}

function timeoutMs(given: Given): number {
  const timeout = given.number("timeout") ?? ANSWERS_S;
  if (timeout < 0) throw new UsageError(`--timeout is a number of seconds, at least 0, not ${timeout}`);
  return timeout * 1000;
}

async function ask(app: Mognet, given: Given): Promise<Node[]> {
  const answers = await app.nodeStatus({ timeout: timeoutMs(given) });
  return answers
    .map(({ nodeId, runningRequestIds }) => ({ nodeId, ids: runningRequestIds, running: [] }))
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

function createdMs(result: Result): number {
  return result.created?.getTime() ?? Number.MAX_SAFE_INTEGER;
}
