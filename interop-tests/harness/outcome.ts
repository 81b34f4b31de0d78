/** What came of a task, in one form for both observers, so that what they saw can be compared. */
import { decodeJson, encodeJson } from "../../protocol/json.ts";
import type { AsyncResult } from "../../src/index.ts";
import { TimeoutError } from "../../src/index.ts";
import type { PythonCelery, PythonResult } from "../../src/testing/index.ts";
import type { Expectation, Side } from "../celery/case.ts";

export interface Outcome {
  /** The state under which it ended; `PENDING` when nothing is stored. */
  state: string;
  /** The value as Kombu's JSON text; null unless it ended well. */
  json: string | null;
  error: { type: string; module: string | null; args: unknown } | null;
}

/** What one side saw, the case's own ids and queues replaced by the words that stand for them. */
export interface Seen {
  by: Side;
  outcome: Outcome;
}

export const waitMs = 60_000;

/** What our client sees of a result. `absent`: one look instead of a wait. */
export async function seenByTypescript(result: AsyncResult, absent = false): Promise<Outcome> {
  if (!absent) {
    const got: unknown = await result.get({ propagate: false, timeout: waitMs }).catch((error: unknown) => error);
    if (got instanceof TimeoutError) return { state: `nothing within ${waitMs} ms`, json: null, error: null };
  }
  const meta = await result.meta();
  const { exception } = meta;
  return {
    state: meta.status,
    json: meta.status === "SUCCESS" ? encodeJson(meta.result) : null,
    error:
      exception === null
        ? null
        : { type: exception.type, module: exception.module, args: plain(encodeJson(exception.args)) },
  };
}

/** What Celery's client sees of it. */
export async function seenByPython(python: PythonCelery, id: string, absent = false): Promise<Outcome> {
  if (absent) {
    const { state, info, raised } = await python.state(id);
    return { state, json: raised || !("json" in info) || state !== "SUCCESS" ? null : info.json, error: null };
  }
  const got = (await python.run(wait, { id, seconds: waitMs / 1000 }, { timeout: waitMs + 10_000 })) as PythonResult;
  if (got.raised === undefined) return { state: String(got.state), json: got.json, error: null };
  const { type, module, args } = got.raised;
  if (type === "TimeoutError" && module === "celery.exceptions") {
    return { state: `nothing within ${waitMs} ms`, json: null, error: null };
  }
  return { state: String(got.state), json: null, error: { type, module, args } };
}

/** As the client's own `get`, but with the handle that sending gave, which knows what came while others were waited for. */
const wait = `
import __main__
from celery.result import AsyncResult
result = getattr(app, "handles", {}).pop(id, None) or AsyncResult(id, app=app)
try:
    value = result.get(timeout=seconds, interval=0.02)
    answer = {"state": result.state, **__main__.describe_value(value)}
except Exception as error:
    answer = {"state": result.state, "raised": __main__.describe_error(error)}
`;

function plain(text: string): unknown {
  return JSON.parse(text) as unknown;
}

/** Words for what differs from run to run. */
export type Words = readonly (readonly [word: string, text: string])[];

/** Puts the words back in the place of this run's names. */
export function withWords(outcome: Outcome, words: Words): Outcome {
  return JSON.parse(unfill(JSON.stringify(outcome), words)) as Outcome;
}

export function fill(text: string, words: Words): string {
  return words.reduce((filled, [word, value]) => filled.replaceAll(word, value), text);
}

function unfill(text: string, words: Words): string {
  return words
    .filter(([word]) => word === "$ID" || word === "$QUEUE" || word === "$FOLDER")
    .reduce((unfilled, [word, value]) => unfilled.replaceAll(value, word), text);
}

/** The outcome cut to what the case speaks of, and what it says: to be compared with `toEqual`. */
export function compare(expect: Expectation, outcome: Outcome): { actual: unknown; expected: unknown } {
  if (expect.absent) return { actual: outcome.state, expected: "PENDING" };
  if (expect.raises) {
    const { type, module = "builtins", args, state = "FAILURE" } = expect.raises;
    const { error } = outcome;
    const seen = { state: outcome.state, type: error?.type, module: error?.module };
    if (args === undefined) return { actual: seen, expected: { state, type, module } };
    return { actual: { ...seen, args: error?.args }, expected: { state, type, module, args } };
  }
  if (expect.fields) {
    const value = outcome.json === null ? null : decodeJson(outcome.json);
    const members = Object.keys(expect.fields).map((name) => [
      name,
      typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined,
    ]);
    return {
      actual: { state: outcome.state, error: outcome.error, ...Object.fromEntries(members) },
      expected: { state: "SUCCESS", error: null, ...expect.fields },
    };
  }
  return { actual: outcome, expected: { state: "SUCCESS", json: expect.value ?? null, error: null } };
}
