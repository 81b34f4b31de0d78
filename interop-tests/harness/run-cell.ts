/**
 * Runs every case of a cell and keeps what was seen. Calls of all directions go out together and are collected afterwards;
 * what steers workers comes after them, one thing at a time, and killing workers comes last.
 */
import { randomUUID } from "node:crypto";
import type { AsyncResult } from "../../src/index.ts";
import { HarnessError, waitFor } from "../../src/testing/index.ts";
import {
  type CallCase,
  type Case,
  type Direction,
  expectationOf,
  langOf,
  otherThan,
  type Side,
} from "../celery/case.ts";
import { directions, offReason } from "../features.ts";
import { type Cell, queueOf } from "./cell.ts";
import { type Outgoing, sendFromPython, sendFromTypescript } from "./clients.ts";
import { runHeld } from "./held.ts";
import { runMessages } from "./messages.ts";
import { runOrders } from "./orders.ts";
import { fill, type Outcome, type Seen, seenByPython, seenByTypescript, type Words, withWords } from "./outcome.ts";
import { runRelays } from "./relays.ts";
import { runSurvivals } from "./survivals.ts";

/** What was seen of one case in one direction; a string when it could not be run. */
export interface Report {
  seen: Seen[];
  /** Seen while it was held. */
  during: { state: string; value: string } | null;
  /** Record lines, as far as the case asks for them. */
  records: string[];
  problem: string | null;
}

export type Reports = Map<string, Report>;

export const reportKey = (name: string, direction: string) => `${name} | ${direction}`;

/** One case in one direction, with an id of its own. */
export interface Instance<C extends Case = Case> {
  readonly case: C;
  readonly direction: Direction;
  readonly id: string;
  readonly words: Words;
  readonly report: Report;
}

export async function runCell(cell: Cell, cases: readonly Case[]): Promise<Reports> {
  const reports: Reports = new Map();
  const instances = directions.flatMap((direction) =>
    cases
      .filter(({ name }) => offReason(name, cell.version, cell.stores, direction.name) === null)
      .map((one) => {
        const report: Report = { seen: [], during: null, records: [], problem: null };
        reports.set(reportKey(one.name, direction.name), report);
        return makeInstance(one, direction, report);
      }),
  );
  const kind = <K extends Case["kind"]>(wanted: K) =>
    instances.filter((instance): instance is Instance<Extract<Case, { kind: K }>> => instance.case.kind === wanted);
  await runCalls(cell, kind("call"));
  await runHeld(cell, kind("held"));
  await runOrders(cell, kind("order"));
  await runRelays(cell, kind("relay"));
  await runMessages(cell, kind("message"));
  await collectRecords(cell, instances);
  await drained(cell, reports);
  await runSurvivals(cell, kind("survival"));
  return reports;
}

function makeInstance(one: Case, direction: Direction, report: Report): Instance {
  const id = randomUUID();
  const { client, worker } = direction;
  const words: Words = [
    ["$ID", id],
    ["$QUEUE", queueOf(worker)],
    ["$WORKER", worker],
    ["$CLIENT", client],
    ["$LANG", langOf(worker)],
    ["$OTHERQUEUE", queueOf(otherThan(worker))],
    ["$OTHERLANG", langOf(otherThan(worker))],
  ];
  return { case: one, direction, id, words, report };
}

/** What the client sends for a case; the worker's queue unless its options name one, or null for none. */
export function outgoing({ case: one, id, words }: Instance<CallCase>): Outgoing {
  const options = { queue: "$QUEUE", ...one.options };
  if (options.queue === null) delete (options as { queue?: unknown }).queue;
  return {
    id,
    task: one.task,
    args: fill(one.args ?? "[]", words),
    kwargs: fill(one.kwargs ?? "{}", words),
    options: fill(JSON.stringify(options), words),
  };
}

/** Sends all instances with the client of their direction. What could not be sent is marked, the rest returned. */
export async function send<C extends CallCase>(
  cell: Cell,
  instances: readonly Instance<C>[],
): Promise<{ instance: Instance<C>; handle: AsyncResult | null }[]> {
  const by = (client: Side) => instances.filter(({ direction }) => direction.client === client);
  const [ours, theirs] = await Promise.all([
    sendFromTypescript(cell, by("typescript").map(outgoing)),
    sendFromPython(cell, by("python").map(outgoing)),
  ]);
  const sent: { instance: Instance<C>; handle: AsyncResult | null }[] = [];
  const keep = (instance: Instance<C> | undefined, answer: AsyncResult | Error | string | null) => {
    if (instance === undefined) return;
    if (answer instanceof Error || typeof answer === "string") {
      instance.report.problem = `could not be sent: ${answer}`;
    } else sent.push({ instance, handle: answer });
  };
  for (const [at, answer] of ours.entries()) keep(by("typescript")[at], answer);
  for (const [at, answer] of theirs.entries()) keep(by("python")[at], answer);
  return sent;
}

/** Waits for results as every client that can see them: with rpc only the one that asked. */
export async function collect(
  cell: Cell,
  sent: readonly { instance: Instance; handle: AsyncResult | null }[],
): Promise<void> {
  const waited = sent.filter(({ instance }) => !instance.case.expect.absent);
  const absent = sent.filter(({ instance }) => instance.case.expect.absent);
  for (const [part, isAbsent] of [
    [waited, false],
    [absent, true],
  ] as const) {
    await Promise.all(
      part.map(async ({ instance, handle }) => {
        if (cell.rpc && handle === null) return;
        const result = handle ?? cell.typescript.result(instance.id);
        note(instance, "typescript", await seenByTypescript(result, isAbsent));
      }),
    );
    for (const { instance } of part) {
      if (cell.rpc && instance.direction.client !== "python") continue;
      note(instance, "python", await seenByPython(cell.python, instance.id, isAbsent));
    }
  }
}

export function note(instance: Instance, by: Side, outcome: Outcome): void {
  instance.report.seen.push({ by, outcome: withWords(outcome, instance.words) });
}

async function runCalls(cell: Cell, instances: readonly Instance<CallCase>[]): Promise<void> {
  await collect(cell, await send(cell, instances));
}

async function collectRecords(cell: Cell, instances: readonly Instance[]): Promise<void> {
  // Callbacks and errbacks run after the results that have been awaited.
  const wanted = instances.flatMap(({ case: one, direction, words }) =>
    (expectationOf(one, direction).records ?? []).map((line) => fill(line, words)),
  );
  let text = "";
  const all = async () => {
    text = await cell.records();
    return wanted.every((line) => text.includes(line));
  };
  // What is missing for good is told by its own case.
  await waitFor(all, { timeout: 30_000, interval: 100 }).catch(() => undefined);
  for (const { case: one, direction, report, words } of instances) {
    report.records = (expectationOf(one, direction).records ?? []).filter((line) => text.includes(fill(line, words)));
  }
}

async function drained(cell: Cell, reports: Reports): Promise<void> {
  const report: Report = { seen: [], during: null, records: [], problem: null };
  reports.set(reportKey(drainedCase, ""), report);
  try {
    await cell.assertDrained();
    cell.assertAlive("python");
    cell.assertAlive("typescript");
  } catch (error) {
    if (!(error instanceof HarnessError)) throw error;
    report.problem = error.message;
  }
}

/** The name under which a cell reports that both sides were alive and drained after all cases but the last. */
export const drainedCase = "robustness/both sides alive and drained at the end";
