/**
 * What a case of the matrix is: data. `cases/` holds them; `harness/` sends each over every cell and direction that
 * `features.ts` leaves on, and `matrix.test.ts` compares what both sides saw with what the case says, and with what Python
 * sees of Python.
 *
 * Arguments and expected values are JSON text as Kombu reads and writes it, so that neither side's codec prepares the
 * question or grades the answer. In texts and options these words stand for the case's own:
 * `$ID` task id, `$QUEUE` the worker's queue, `$WORKER` and `$CLIENT` `python` or `typescript`, `$LANG` `python` or `js`, `$OTHERQUEUE` and `$OTHERLANG` those of the
 * language that is not the worker's, `$FOLDER` a folder (held cases).
 */
export type Side = "python" | "typescript";

export interface Direction {
  readonly name: string;
  readonly client: Side;
  readonly worker: Side;
}

export interface Raises {
  readonly type: string;
  /** @default "builtins" */
  readonly module?: string;
  /** Left out: not looked at. */
  readonly args?: readonly unknown[];
  /** @default "FAILURE" */
  readonly state?: "FAILURE" | "REVOKED";
}

export interface Expectation {
  /** It ends in SUCCESS with exactly this JSON text. */
  readonly value?: string;
  /** It ends in SUCCESS with an object that has these members. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly raises?: Raises;
  /** Nothing is ever stored under the id. */
  readonly absent?: true;
  /** Lines that the workers left in their record. */
  readonly records?: readonly string[];
  /** State and value while the task is held half way. */
  readonly during?: { readonly state: string; readonly value: string };
}

interface AnyCase {
  /** `group/what is promised`; the group is a row of docs/compatibility.md. */
  readonly name: string;
  readonly expect: Expectation;
  /** Why what Python sees of Python is no yardstick here. @default compared */
  readonly control?: string;
}

/** One task sent by a client and run by a worker. */
export interface CallCase extends AnyCase {
  readonly kind: "call" | "held";
  readonly task: string;
  /** @default [] */
  readonly args?: string;
  /** @default {} */
  readonly kwargs?: string;
  /** Options of `apply_async` with Celery's names. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/** A message below the task layer, put into the worker's queue as it stands. */
export interface MessageCase extends AnyCase {
  readonly kind: "message";
  readonly body: string | Uint8Array;
  /** @default application/json; null: none */
  readonly contentType?: string | null;
  /** @default utf-8 */
  readonly contentEncoding?: string | null;
  /** @default the headers of a `fixture.echo` task; null: none of them */
  readonly headers?: Readonly<Record<string, unknown>> | null;
  /** Compress the body with zlib before it is sent. */
  readonly deflate?: true;
}

/** Attempts that move from one language to the other on one queue; the value tells the trail. */
export interface RelayCase extends AnyCase {
  readonly kind: "relay";
  readonly attempts: Readonly<Record<string, readonly Side[]>>;
}

/** A worker is killed in the middle of a late-acked task, and another one finishes it. */
export interface SurvivalCase extends AnyCase {
  readonly kind: "survival";
}

/** Messages of several priorities wait in a queue, then a worker begins to consume. */
export interface OrderCase extends AnyCase {
  readonly kind: "order";
  /** Priorities in the order of sending. */
  readonly priorities: readonly number[];
}

export type Case = CallCase | MessageCase | RelayCase | SurvivalCase | OrderCase;

/** What a case promises in one direction, its words filled in but for those that stand for ids and queues. */
export function expectationOf(one: Case, direction: Direction): Expectation {
  if (one.kind === "relay") {
    const attempts = one.attempts[direction.name] ?? [];
    return { fields: { trail: attempts.map(langOf), retries: attempts.length - 1 } };
  }
  const text = JSON.stringify(one.expect)
    .replaceAll("$LANG", langOf(direction.worker))
    .replaceAll("$OTHERLANG", langOf(otherThan(direction.worker)))
    .replaceAll("$WORKER", direction.worker)
    .replaceAll("$CLIENT", direction.client);
  return JSON.parse(text) as Expectation;
}

export function langOf(side: Side): "python" | "js" {
  return side === "python" ? "python" : "js";
}

export function otherThan(side: Side): Side {
  return side === "python" ? "typescript" : "python";
}

export function groupOf(name: string): string {
  return name.slice(0, name.indexOf("/"));
}
