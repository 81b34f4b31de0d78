/**
 * The result of one task, asked of the backend. What Celery has as properties are asynchronous methods here, since each may
 * have to read; once the task has ended its record is kept and no further read is made. wire: celery/result.py `AsyncResult`.
 */
import type { ResultMeta, ResultTuple } from "../../protocol/celery/result-meta.ts";
import {
  EXCEPTION_STATES,
  FAILURE,
  isReady,
  PENDING,
  PROPAGATE_STATES,
  SUCCESS,
} from "../../protocol/celery/states.ts";
import { bool, mismatch, structured } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { TaskValidationError } from "../tasks/errors.ts";
import type { AnySchema, SchemaResult } from "../tasks/standard-schema.ts";
import { GroupResult } from "./group-result.ts";
import { collect, type ResultEntry } from "./result-tree.ts";
import type { Results, RevokeResultOptions } from "./results.ts";
import { isList, type Returns } from "./returns.ts";

/** How a result is waited for. Celery: `AsyncResult.get`. */
export interface GetOptions {
  /** Milliseconds to wait at most; the task runs on. @default for ever */
  timeout?: number;
  /** Ends the wait with the signal's reason. */
  signal?: AbortSignal;
  /** False: a failed task's error is the value instead of being thrown. @default true */
  propagate?: boolean;
  /** False: steps before this one are not looked at; they may have failed. Celery: `follow_parents`. @default true */
  followParents?: boolean;
  /** Sees the records before the last one: STARTED, RETRY, PROGRESS, … */
  onUpdate?: (meta: ResultMeta) => void;
}

const GET_OPTIONS: OptionKinds = {
  timeout: structured("a number of milliseconds", (value, at) => {
    if (!(typeof value === "number" && value >= 0)) throw mismatch(at, "a number of milliseconds, at least 0", value);
  }),
  signal: structured("an AbortSignal", (value, at) => {
    if (!(value instanceof AbortSignal)) throw mismatch(at, "an AbortSignal", value);
  }),
  propagate: bool,
  followParents: bool,
  onUpdate: structured("a function", (value, at) => {
    if (typeof value !== "function") throw mismatch(at, "a function", value);
  }),
};

const NO_OPTIONS: GetOptions = Object.freeze({});

export interface ResultOptions {
  parent?: AnyResult | null;
  /** What the value is checked against. */
  returns?: AnySchema | null;
  /** The task's result is not stored: `get()` gives null at once, as in Celery. */
  ignored?: boolean;
}

/** A member of a tree of results. */
export type AnyResult = AsyncResult | GroupResult;

/**
 * The result of one task, wherever it runs. Got from `app.send()` and its kin, or by id from `app.result()`. Celery:
 * `AsyncResult`.
 */
export class AsyncResult<T = unknown> {
  readonly id: string;
  /** The result of the step before, in a chain. */
  readonly parent: AnyResult | null;
  /** Celery's `ignored`: nobody stores this result. */
  readonly ignored: boolean;
  readonly #results: Results;
  readonly #returns: AnySchema | null;
  #final: ResultMeta | null = null;

  /** @internal */
  constructor(id: string, results: Results, { parent = null, returns = null, ignored = false }: ResultOptions = {}) {
    this.id = id;
    this.#results = results;
    this.parent = parent;
    this.#returns = returns;
    this.ignored = ignored;
  }

  /**
   * Waits for the task and gives its value. Throws `RemoteTaskError` (or the error class registered for it) when it failed,
   * `TaskRevokedError`, `TimeoutError` when our wait ended first, `TaskValidationError` when the value does not satisfy the
   * task's `returns`. A failed step before this one throws too, in a chain or in the header of a chord. For an ignored result null, without waiting.
   */
  get(options: GetOptions & { propagate: false }): Promise<T | Error>;
  get(options?: GetOptions): Promise<T>;
  async get(options: GetOptions = NO_OPTIONS): Promise<T | Error> {
    if (options !== NO_OPTIONS) checkOptionObject(options, GET_OPTIONS, "result.get()");
    if (this.ignored) return this.#unchecked(null);
    const propagate = options.propagate ?? true;
    const meta = this.#final ?? (await this.#await(options, propagate));
    if (!PROPAGATE_STATES.has(meta.status)) return this.#value(meta.result);
    const error = this.#results.errors.errorOf(this.id, meta);
    if (propagate) throw error;
    return error;
  }

  /** The whole record; PENDING when nothing is stored, which is also what an unknown id looks like. */
  async meta(): Promise<ResultMeta> {
    return this.#final ?? this.#keep(await this.#results.read(this.id));
  }

  /** PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED or a custom state. */
  async state(): Promise<string> {
    return (await this.meta()).status;
  }

  /** The same as `state()`, under Celery's older name. */
  status(): Promise<string> {
    return this.state();
  }

  /** The value, the error of a failed or retrying task, or what a custom state carries. Not checked against `returns`. */
  async info(): Promise<unknown> {
    const meta = await this.meta();
    return EXCEPTION_STATES.has(meta.status) && meta.exception !== null
      ? this.#results.errors.errorOf(this.id, meta)
      : meta.result;
  }

  /** The same as `info()`, under Celery's other name. */
  result(): Promise<unknown> {
    return this.info();
  }

  /** The remote traceback or stack as text; null when there is none. */
  async traceback(): Promise<string | null> {
    return (await this.meta()).traceback;
  }

  /** Results of the tasks that this one sent; empty until it has ended. */
  async children(): Promise<AnyResult[]> {
    const { children } = await this.meta();
    return (children ?? []).map((tuple) => resultFromTuple(tuple, this.#results));
  }

  /**
   * Every result of the tree below with its value, level by level: this one, what it sent, what that sent. Each is awaited in
   * turn; one that has failed ends it with its error, unless `propagate` is false. `timeout` (milliseconds) is that of each.
   */
  collect(options: GetOptions = {}): AsyncGenerator<ResultEntry, void, undefined> {
    return collect(this, options);
  }

  /** The task has ended: SUCCESS, FAILURE or REVOKED. */
  async ready(): Promise<boolean> {
    return isReady(await this.state());
  }

  async successful(): Promise<boolean> {
    return (await this.state()) === SUCCESS;
  }

  async failed(): Promise<boolean> {
    return (await this.state()) === FAILURE;
  }

  /** Something is stored under the id, which tells a waiting task from one that never was or has expired. */
  async exists(): Promise<boolean> {
    return this.#final !== null || (await this.state()) !== PENDING;
  }

  /** Deletes the stored record, and those of the steps before it. */
  async forget(): Promise<void> {
    this.#final = null;
    await this.parent?.forget();
    await this.#results.backend.forget(this.id);
  }

  /**
   * Tells all workers not to start this task; with `terminate` they end it where it runs. Resolves once the broker has the message,
   * with `wait` when the workers have answered.
   */
  async revoke(options: RevokeResultOptions = {}): Promise<void> {
    await this.#results.revoke([this.id], options);
  }

  /** The form in which results travel. */
  toTuple(): ResultTuple {
    return tupleOf(this);
  }

  toJSON(): ResultTuple {
    return this.toTuple();
  }

  /** Throws the error of a step before that has failed or was revoked, of several that of the first. */
  async #await(options: GetOptions, propagate: boolean): Promise<ResultMeta> {
    const { timeout, signal, onUpdate, followParents = true } = options;
    if (!propagate || !followParents || this.parent === null) {
      return this.#keep(await this.#results.wait(this.id, { timeout, signal, onUpdate }));
    }
    const steps = stepsTo(this.parent);
    const stop = new AbortController();
    const limit = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
    const failureBefore = new Promise<never>((_resolve, reject) => {
      for (const step of steps) {
        if (step.length <= watchedMembers) for (const node of step) node.#watchFailure(limit, reject);
      }
    });
    try {
      const wait = this.#results.wait(this.id, { timeout, signal: limit, onUpdate });
      const meta = this.#keep(await Promise.race([wait, failureBefore]));
      if (PROPAGATE_STATES.has(meta.status)) await throwFirstFailure(steps);
      return meta;
    } finally {
      stop.abort();
    }
  }

  /** Calls `onFailure` with this task's error if it ends in one; a wait that ends otherwise says nothing. */
  #watchFailure(signal: AbortSignal, onFailure: (error: Error) => void): void {
    if (this.ignored) return;
    this.#results.wait(this.id, { signal }).then(
      (meta) => {
        this.#keep(meta);
        if (PROPAGATE_STATES.has(meta.status)) onFailure(this.#results.errors.errorOf(this.id, meta));
      },
      () => undefined,
    );
  }

  /** @internal The error with which it has ended; null when it has not, or when the store does not say. */
  async failure(): Promise<Error | null> {
    if (this.ignored) return null;
    const meta = await this.meta().catch(() => null);
    return meta !== null && PROPAGATE_STATES.has(meta.status) ? this.#results.errors.errorOf(this.id, meta) : null;
  }

  #keep(meta: ResultMeta): ResultMeta {
    if (isReady(meta.status)) this.#final = meta;
    return meta;
  }

  async #value(value: unknown): Promise<T> {
    if (this.#returns === null || !this.#results.validate) return this.#unchecked(value);
    const checked: SchemaResult<T> = await this.#returns["~standard"].validate(value);
    if (checked.issues === undefined) return checked.value;
    const issues = checked.issues.map((issue) => issue.message).join("; ");
    throw new TaskValidationError(
      `the result of task ${this.id} is not what its definition says: ${issues}`,
      checked.issues,
    );
  }

  /** `T` is the caller's word for what the task returns; without a schema nobody checks it. */
  #unchecked(value: unknown): T {
    return value as T;
  }
}

/** A group before is watched for failures up to this size; a larger one is looked at when what follows it has failed. */
const watchedMembers = 256;

/** What comes before, from the first step on; of a group its members. */
function stepsTo(last: AnyResult): AsyncResult[][] {
  const steps: AsyncResult[][] = [];
  for (let node: AnyResult | null = last; node !== null; node = node.parent) steps.push(membersOf(node));
  return steps.reverse();
}

function membersOf(result: AnyResult): AsyncResult[] {
  return result instanceof AsyncResult ? [result] : result.results.flatMap(membersOf);
}

async function throwFirstFailure(steps: readonly AsyncResult[][]): Promise<void> {
  for (const step of steps) {
    const failures = await Promise.all(step.map((node) => node.failure()));
    for (const failure of failures) if (failure !== null) throw failure;
  }
}

/** The steps of a long chain are walked, not recursed into. */
export function tupleOf(result: AnyResult): ResultTuple {
  const line: AnyResult[] = [];
  for (let node: AnyResult | null = result; node !== null; node = node.parent) line.push(node);
  let tuple: ResultTuple | null = null;
  for (const node of line.reverse()) {
    tuple = [[node.id, tuple], node instanceof AsyncResult ? null : node.results.map(tupleOf)];
  }
  return tuple ?? [[result.id, null], null];
}

/** A result, or a tree of them, from the form in which it travels. `returns` are the schemas of its values. */
export function resultFromTuple(tuple: ResultTuple, results: Results, returns: Returns = null): AnyResult {
  // The steps of a long chain nest as deep as it is long.
  const line: ResultTuple[] = [];
  for (let node: ResultTuple | null = tuple; node !== null; node = node[0][1]) line.push(node);
  let parent: AnyResult | null = null;
  for (let index = line.length - 1; index > 0; index--) parent = made(line[index] ?? tuple, parent, results, null);
  return made(tuple, parent, results, returns);
}

function made([[id], members]: ResultTuple, parent: AnyResult | null, results: Results, returns: Returns): AnyResult {
  if (members === null) return new AsyncResult(id, results, { parent, returns: isList(returns) ? null : returns });
  const schemas = isList(returns) && returns.length === members.length ? returns : null;
  return new GroupResult(
    id,
    members.map((member, index) => resultFromTuple(member, results, schemas?.[index] ?? null)),
    { parent, results },
  );
}
