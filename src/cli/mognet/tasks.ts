/** `lovage mognet tasks get | revoke | tree`. wire: mognet/cli/tasks.py. */
import { encodeJson } from "../../../protocol/json.ts";
import { pyRepr } from "../../../protocol/python-repr.ts";
import type { Mognet } from "../../app/mognet.ts";
import type { Result } from "../../client/mognet/result.ts";
import { plainResult } from "../../client/mognet/result-tree.ts";
import { ResultValueLost } from "../../tasks/mognet-errors.ts";
import { EXIT, type Given } from "../command.ts";
import { complain, print } from "../output.ts";
import { tracebackOf } from "../show-result.ts";
import { labelFormat } from "./label.ts";
import { formatOf, idOf, indentOf, labelOf, repeatedly, wholeOf } from "./shared.ts";
import { type Cell, pythonDuration, pythonTime, simpleTable } from "./table.ts";
import { treeLines } from "./tree.ts";

export async function tasksGet(app: Mognet, given: Given, words: readonly string[]): Promise<number> {
  const id = idOf(words);
  const result = await app.getResult(id);
  if (result === null) return missing(id);
  const metadata = await result.getMetadata();
  const value = given.on("include-value") ? await valueOf(result) : null;
  if (given.on("json")) {
    const shown = value === null ? {} : value.error === null ? { value: value.value } : { error: value.error };
    print(encodeJson({ ...plainResult(result.record), metadata, ...shown }));
    return EXIT.ok;
  }
  const { record } = result;
  const rows: (readonly Cell[])[] = [
    ["ID", result.id],
    ["Name", result.name],
    ["Arguments", result.requestKwargsRepr],
    ["State", result.state],
    ["Number of starts", result.numberOfStarts],
    ["Number of stops", result.numberOfStops],
    ["Unexpected retry count", result.unexpectedRetryCount],
    ["Parent", result.parentId],
    ["Created at", pythonTime(record.created)],
    ["Started at", pythonTime(record.started)],
    ["Time in queue", pythonDuration(result.queueTime)],
    ["Finished at", pythonTime(record.finished)],
    ["Runtime duration", pythonDuration(result.duration)],
    ["Node ID", result.nodeId],
    ["Metadata", pyRepr(metadata)],
  ];
  if (value !== null) {
    if (value.error !== null) rows.push(["Error raised", value.error]);
    else rows.push(["Result value", value.lost ? "<Lost>" : pyRepr(value.value)]);
  }
  for (const line of simpleTable(rows)) print(line);
  return EXIT.ok;
}

interface Shown {
  value: unknown;
  /** The traceback, else the error's words. */
  error: string | null;
  lost: boolean;
}

async function valueOf(result: Result): Promise<Shown> {
  try {
    const value = await result.value.getRawValue();
    if (!(value instanceof Error)) return { value, error: null, lost: false };
    return { value: null, error: tracebackOf(value) ?? value.message, lost: false };
  } catch (error) {
    if (error instanceof ResultValueLost) return { value: null, error: null, lost: true };
    throw error;
  }
}

/** As in Mognet an unknown id is an error and is revoked all the same: its request may be on its way. */
export async function tasksRevoke(app: Mognet, given: Given, words: readonly string[]): Promise<number> {
  const id = idOf(words);
  const known = await app.getResult(id);
  const result = await app.revoke(id, { force: given.on("force") });
  if (given.on("json")) print(JSON.stringify({ id, known: known !== null, state: result.state }));
  return known === null ? missing(id) : EXIT.ok;
}

export async function tasksTree(app: Mognet, given: Given, words: readonly string[]): Promise<number> {
  const id = idOf(words);
  const label = labelFormat(labelOf(given));
  const format = formatOf(given);
  const limits = { maxDepth: wholeOf(given, "max-depth", 3), maxWidth: wholeOf(given, "max-width", 16) };
  let code: number = EXIT.ok;
  await repeatedly(given, async () => {
    const result = await app.getResult(id);
    if (result === null) {
      code = missing(id);
      return;
    }
    const tree = await result.tree(limits);
    if (format === "json") print(JSON.stringify(tree, undefined, indentOf(given)));
    else for (const line of treeLines(tree, label)) print(line);
  });
  return code;
}

function missing(id: string): number {
  complain(`Request ${id} does not exist\n`);
  return EXIT.failed;
}
