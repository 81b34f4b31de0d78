/** Sends workflows with our client and says what came back, as `fixtures/canvas_client.py` does with Celery's. */
import { encodeJson } from "../../protocol/json.ts";
import { type Celery, RemoteTaskError, TimeoutError } from "../../src/index.ts";
import { callOptionsOf } from "../../src/tasks/signature-options.ts";
import { build } from "./build.ts";
import type { Sending } from "./shape.ts";

/** What a client got: the tuple of its result, and what `get` gave. */
export interface Answer {
  tuple?: unknown;
  outcome?: unknown;
}

export async function sendFromTypescript(
  app: Celery,
  sendings: readonly Sending[],
  getMs: number,
): Promise<Map<string, Answer>> {
  const answers = await Promise.all(sendings.map((sending) => sendOne(app, sending, getMs)));
  return new Map(sendings.map(({ run }, index) => [run, answers[index] ?? {}]));
}

async function sendOne(app: Celery, { shape, apply, endless }: Sending, getMs: number): Promise<Answer> {
  const { args = [], kwargs = {}, options = {} } = apply;
  const tuple: { tuple?: unknown } = {};
  try {
    const signature = build(shape).clone({ args, kwargs });
    const result = await app.apply(signature, callOptionsOf(options));
    tuple.tuple = JSON.parse(JSON.stringify(result.toTuple())) as unknown;
    if (endless) return tuple;
    return { ...tuple, outcome: { value: encodeJson(await result.get({ timeout: getMs })) } };
  } catch (error) {
    if (error instanceof TimeoutError) return { ...tuple, outcome: { nothing: true } };
    return { ...tuple, outcome: { raised: described(error) } };
  }
}

/** The type as Python names it, and `str(error)`. */
function described(error: unknown): { type: string; text: string } {
  if (!(error instanceof Error)) return { type: typeof error, text: String(error) };
  if (!(error instanceof RemoteTaskError)) return { type: error.name, text: error.message };
  const text = error.args.map(String).join(", ");
  return { type: error.type, text: error.type === "KeyError" ? `'${text}'` : text };
}
