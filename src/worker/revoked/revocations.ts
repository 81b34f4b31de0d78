/**
 * What of the worker's requests is revoked, and how whoever waits for a revoked task is told: REVOKED is stored at once for ids that
 * no worker has started. wire: celery/worker/control.py `_revoke`; celery/worker/request.py `revoked`; behaviour 1.8, 3.3.
 */
import type { ResultMeta } from "../../../protocol/celery/result-meta.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import type { Log } from "../../runtime/log.ts";
import { TaskRevokedError } from "../../tasks/errors.ts";
import { toRemoteException } from "../../tasks/python-errors.ts";
import type { Request, Revocation } from "../request.ts";
import { RevokedIds, type RevokedLimits } from "./revoked-ids.ts";
import { RevokedStamps } from "./revoked-stamps.ts";

/** States that no worker has entered by running the task. */
const NOT_STARTED = new Set(["PENDING", "RECEIVED", "RETRY", "REJECTED"]);
/** Look-ups under way at a time. */
const LANES = 32;

export interface RevocationParts {
  backend: ResultBackend<ResultMeta> | null;
  isoNow: () => string;
  log: Log;
  limits?: RevokedLimits;
}

export class Revocations {
  readonly ids: RevokedIds;
  readonly stamps: RevokedStamps;
  readonly #parts: RevocationParts;
  readonly #limits: RevokedLimits;
  /** Ids whose stored state is to be looked at; bounded like the ids themselves. */
  #due: string[] = [];
  #lanes = 0;
  #passedOver = 0;
  #stored: { promise: Promise<void>; resolve: () => void } | null = null;
  #failed = 0;

  constructor(parts: RevocationParts) {
    this.#parts = parts;
    this.#limits = parts.limits ?? limitsFrom(process.env);
    this.ids = new RevokedIds(this.#limits);
    this.stamps = new RevokedStamps(this.#limits);
  }

  /** Why a request must not start, or null. A request past its `expires` joins the revoked ids, as in Celery. */
  refusal(request: Request): Revocation | null {
    const { expiresMs, message } = request;
    if (expiresMs !== null && Date.now() > expiresMs) {
      this.ids.add(message.id);
      return EXPIRED;
    }
    if (this.ids.size > 0 && this.ids.has(message.id)) return REVOKED;
    if (this.stamps.size > 0 && this.stamps.match(message) !== null) return REVOKED;
    return null;
  }

  /** Stores REVOKED for what nobody has started. Resolves when all of it is stored; what cannot be stored is logged. */
  announce(ids: readonly string[]): Promise<void> {
    // A reply of rpc goes to one client, who is not known here.
    if (this.#parts.backend?.can.sharedReads !== true || ids.length === 0) return Promise.resolve();
    for (const id of ids) this.#due.push(id);
    const excess = this.#due.length - this.#limits.max;
    if (excess > 0) {
      this.#due.splice(0, excess);
      if (this.#passedOver === 0)
        this.#parts.log.warn({}, "too many revoked tasks: REVOKED is stored for the latest only");
      this.#passedOver += excess;
    }
    if (this.#due.length === 0 && this.#lanes === 0) return Promise.resolve();
    this.#stored ??= deferred();
    const { promise } = this.#stored;
    while (this.#lanes < LANES && this.#lanes < this.#due.length) {
      this.#lanes++;
      void this.#lane();
    }
    return promise;
  }

  /** Looks at no more of them. */
  close(): void {
    this.#due = [];
  }

  async #lane(): Promise<void> {
    for (let id = this.#due.pop(); id !== undefined; id = this.#due.pop()) await this.#storeRevoked(id);
    this.#lanes--;
    if (this.#lanes > 0) return;
    const { log } = this.#parts;
    if (this.#passedOver > 0) log.warn({ count: this.#passedOver }, "REVOKED was not stored for so many");
    if (this.#failed > 1) log.warn({ count: this.#failed }, "REVOKED could not be stored for so many");
    this.#passedOver = 0;
    this.#failed = 0;
    this.#stored?.resolve();
    this.#stored = null;
  }

  async #storeRevoked(id: string): Promise<void> {
    const { backend, isoNow, log } = this.#parts;
    if (backend === null) return;
    try {
      const known = await backend.get(id);
      if (known !== null && !NOT_STARTED.has(known.status)) return;
      const record: ResultMeta = {
        status: "REVOKED",
        result: null,
        exception: toRemoteException(new TaskRevokedError(id, "revoked")),
        traceback: null,
        children: [],
        dateDone: isoNow(),
        taskId: id,
      };
      await backend.store(id, record, { replyTo: null, correlationId: id });
    } catch (error) {
      // The first of many says why.
      if (this.#failed++ === 0) log.warn({ id, err: error }, "REVOKED could not be stored");
    }
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

const EXPIRED: Revocation = Object.freeze({ terminated: false, signum: null, expired: true });
const REVOKED: Revocation = Object.freeze({ terminated: false, signum: null, expired: false });

/** The environment variables by which Celery's users set the bounds. */
export function limitsFrom(env: NodeJS.ProcessEnv): RevokedLimits {
  const number = (name: string, fallback: number): number => {
    const value = Number(env[name] ?? Number.NaN);
    return Number.isFinite(value) && value >= 0 ? value : fallback;
  };
  return {
    max: Math.trunc(number("CELERY_WORKER_REVOKES_MAX", 50_000)),
    maxAgeMs: number("CELERY_WORKER_REVOKE_EXPIRES", 10_800) * 1000,
  };
}
