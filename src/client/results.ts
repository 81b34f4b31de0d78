/** What all results of one client share: the backend, the registry of errors, and one timer for all their timeouts. */
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { PENDING } from "../../protocol/celery/states.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { GroupStore } from "../result-backends/chord-counter.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { Canceller } from "../runtime/cancellation.ts";
import { LimitedWaits } from "../runtime/wait-limits.ts";
import { TimeoutError } from "../tasks/errors.ts";
import { Anticipation } from "./anticipation.ts";
import type { ErrorRegistry } from "./remote-errors.ts";

export interface ResultsParts {
  /** Null: no results are stored (`result_backend` unset). */
  readonly backend: ResultBackend<ResultMeta> | null;
  readonly errors: ErrorRegistry;
  /** Check values against the task's `returns` schema (`lovage_validate_params`). */
  readonly validate: boolean;
  /** Milliseconds a wait bears a store that is away; null: for ever (`lovage_result_lost_after`). */
  readonly lostAfterMs: number | null;
  /** Ids of tasks that are sent without one. */
  readonly ids: () => string;
  /** Tells workers to call tasks back; absent where there is no app. */
  readonly revoke?: (ids: readonly string[], options: RevokeResultOptions) => Promise<unknown>;
}

/** How the tasks of results are revoked. Celery: `AsyncResult.revoke`. */
export interface RevokeResultOptions {
  /** Also end it where it runs. @default false */
  terminate?: boolean;
  /** The signal for that, by name. @default "SIGTERM" */
  signalName?: string;
  /** Wait for what the workers say. @default false */
  wait?: boolean;
  /** Seconds to wait for them. @default 1 */
  timeout?: number;
}

interface Limits {
  /** Milliseconds. */
  timeout?: number;
  signal?: AbortSignal;
  onUpdate?: (meta: ResultMeta) => void;
}

export class Results {
  readonly errors: ErrorRegistry;
  readonly validate: boolean;
  readonly #backend: ResultBackend<ResultMeta> | null;
  readonly #revoke: ResultsParts["revoke"] | null;
  readonly #lostAfterMs: number | null;
  /** Listens early for the results of what is sent; null without a backend. */
  readonly anticipation: Anticipation | null;
  readonly #limits = new LimitedWaits();

  constructor(parts: ResultsParts) {
    this.#backend = parts.backend;
    this.errors = parts.errors;
    this.validate = parts.validate;
    this.#lostAfterMs = parts.lostAfterMs;
    this.#revoke = parts.revoke ?? null;
    this.anticipation = parts.backend === null ? null : new Anticipation({ ...parts, backend: parts.backend });
  }

  /** Throws `ImproperlyConfigured` when there is none (Celery: `DisabledBackend`). */
  get backend(): ResultBackend<ResultMeta> {
    if (this.#backend === null) {
      throw new ImproperlyConfigured("no result backend is configured; set result_backend to wait for results");
    }
    return this.#backend;
  }

  /** Throws `ImproperlyConfigured` where groups cannot be kept. */
  get groups(): GroupStore {
    const { groups, name } = this.backend;
    if (groups === undefined) throw new ImproperlyConfigured(`the result backend ${name} does not keep groups`);
    return groups;
  }

  /** Throws `ImproperlyConfigured` for results that were made without an app. */
  async revoke(ids: readonly string[], options: RevokeResultOptions): Promise<void> {
    if (!this.#revoke)
      throw new ImproperlyConfigured("these results were made without an app that could reach workers");
    if (ids.length > 0) await this.#revoke(ids, options);
  }

  async read(id: string): Promise<ResultMeta> {
    return (await this.backend.get(id)) ?? pendingMeta(id);
  }

  /** The record with which the task ends. Rejects with `TimeoutError`, the signal's reason, or what the backend says. */
  async wait(id: string, limits: Limits): Promise<ResultMeta> {
    const { timeout, signal, onUpdate } = limits;
    if (timeout !== undefined && !(timeout >= 0))
      throw new ImproperlyConfigured(`timeout is a number of milliseconds, not ${String(timeout)}`);
    const early = this.anticipation?.take(id) ?? null;
    if (signal?.aborted) {
      early?.stop.abort();
      throw signal.reason;
    }
    // Updates are told from the asking on; who listened early was told of none.
    if (early !== null && onUpdate === undefined) return this.#limited(early.record, early.stop, id, limits);
    early?.stop.abort();
    if (timeout === undefined) return this.backend.watch(id, { signal, onUpdate, lostAfter: this.#lostAfterMs });
    const stop = new Canceller();
    const record = this.backend.watch(id, { signal: stop, onUpdate, lostAfter: this.#lostAfterMs });
    return this.#limited(record, stop, id, limits);
  }

  #limited(record: Promise<ResultMeta>, stop: Canceller, id: string, limits: Limits): Promise<ResultMeta> {
    return this.#limits.limit(record, stop, limits, (ms) => new TimeoutError(id, ms, this.#backend?.outage?.()));
  }

  close(): void {
    this.anticipation?.close();
    this.#limits.close();
  }
}

/** What Celery says of an id that nothing is stored under. */
function pendingMeta(id: string): ResultMeta {
  return {
    status: PENDING,
    result: null,
    exception: null,
    traceback: null,
    children: null,
    dateDone: null,
    taskId: id,
  };
}
