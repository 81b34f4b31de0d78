/**
 * The worker's side of chords: every member of a header returns its part, and whoever is given the claim collects the results,
 * sends the body and cleans up. wire: celery-wire 8.5; celery/backends/redis.py `on_chord_part_return`.
 */
import type { ResultMeta } from "../../../protocol/celery/result-meta.ts";
import type { WireSignature } from "../../../protocol/celery/signature.ts";
import { isReady } from "../../../protocol/celery/states.ts";
import { isRecord } from "../../../protocol/records.ts";
import type { ChordClaim } from "../../result-backends/chord-counter.ts";
import { ResultLost } from "../../result-backends/errors.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import type { Log } from "../../runtime/log.ts";
import type { Settings } from "../../settings/settings.ts";
import { ChordError } from "../../tasks/errors.ts";
import { TransportClosed } from "../../transports/errors.ts";
import type { Outbox } from "../outbox.ts";
import { JoinFailure, join, valuesOf } from "./chord-results.ts";
import { errorRepr } from "./error-text.ts";
import { type FailureOptions, Failures, failedPart, type Origin } from "./failures.ts";
import { resultId } from "./links.ts";

/** Whose part it is. Without an id and a group nothing is counted. */
export interface PartOwner {
  readonly id: string | null;
  readonly group: string | null;
  readonly groupIndex: number | null;
}

export interface ChordsOptions extends Omit<FailureOptions, "returnPart"> {
  backend: ResultBackend<ResultMeta>;
  outbox: Outbox;
  settings: Settings;
  log: Log;
}

export class Chords {
  readonly failures: Failures;
  readonly #options: ChordsOptions;

  constructor(options: ChordsOptions) {
    this.#options = options;
    this.failures = new Failures({
      ...options,
      returnPart: (owner, part, chord, origin) => this.returnPart(owner, part, chord, origin),
    });
  }

  /**
   * Counts the part. Whoever completes the chord finishes it before this resolves; `chord` is asked for the body only then.
   * Rejects when the result has no form, or the store is closed.
   */
  returnPart(
    owner: PartOwner,
    part: { state: string; result: unknown },
    chord: () => WireSignature | null,
    origin: Origin,
  ): Promise<void> | undefined {
    const { chords } = this.#options.backend;
    const { id, group, groupIndex } = owner;
    if (chords === undefined || id === null || group === null || id === "" || group === "") return undefined;
    return chords.returned(group, { taskId: id, groupIndex, ...part }).then((claim) => {
      if (claim === null) return undefined;
      const body = chord();
      return body === null ? undefined : this.#finish(claim, body, origin);
    });
  }

  /**
   * A part that ended without a result of its own, and will never have one. Where nothing counts, `celery.chord_unlock` would wait
   * for it for ever: the body fails at once.
   */
  async losePart(owner: PartOwner, error: unknown, chord: () => WireSignature | null, origin: Origin): Promise<void> {
    const { backend } = this.#options;
    if (backend.chords !== undefined) return this.returnPart(owner, failedPart(error), chord, origin);
    const body = backend.can.sharedReads ? chord() : null;
    const id = body === null ? null : resultId(body);
    if (body === null || id === null) return undefined;
    const record = await backend.get(id);
    if (record !== null && isReady(record.status)) return undefined;
    const failure = new ChordError(`Dependency ${owner.id} raised ${errorRepr(error)}`, { cause: error });
    await this.failures.failBody(body, failure, origin);
  }

  /** A part that was added may never return, and nobody can know: the body fails now, and is not sent whatever returns. */
  async giveUp(groupId: string, error: unknown, body: WireSignature, origin: Origin): Promise<void> {
    const { backend, log } = this.#options;
    if (backend.chords === undefined || !(await backend.chords.end(groupId))) return;
    const failure = new ChordError(`A part could not be added: ${errorRepr(error)}`, { cause: error });
    log.error({ chord: groupId, body: body.task, err: failure }, "chord failed");
    await this.failures.failBody(body, failure, origin);
  }

  async #finish(claim: ChordClaim, body: WireSignature, origin: Origin): Promise<void> {
    const { log } = this.#options;
    let values: unknown[];
    try {
      values = await this.#collect(claim);
    } catch (error) {
      if (isClosing(error)) throw error;
      const failure =
        error instanceof ChordError ? error : new ChordError(`Join error: ${errorRepr(joinCause(error))}`);
      log.error({ chord: claim.groupId, body: body.task, err: failure }, "chord failed");
      try {
        await this.failures.failBody(body, failure, origin);
      } finally {
        await claim.failed();
      }
      return;
    }
    if (!(await claim.extend(this.#publishSeconds(claim.seconds, body)))) {
      log.warn({ chord: claim.groupId, body: body.task }, "chord body not sent: another worker has taken it over");
      return;
    }
    // Rejects only when we are closing down: then the claim lapses, and a redelivered part may finish the chord.
    await this.sendBody(body, values, origin);
    if (!(await claim.done())) {
      log.warn({ chord: claim.groupId }, "the claim on a chord was lost before its data was removed; it will expire");
    }
  }

  async #collect(claim: ChordClaim): Promise<unknown[]> {
    const collected = await claim.collect();
    if ("parts" in collected) return valuesOf(collected.parts);
    return join(this.#options.backend, collected.header, this.#options.settings.result_chord_join_timeout);
  }

  /** Sends the body with the results; one that cannot be sent fails. */
  async sendBody(body: WireSignature, values: readonly unknown[], origin: Origin): Promise<void> {
    const { outbox, settings, log } = this.#options;
    const { id, rootId } = origin;
    const priority = settings.task_inherit_parent_priority ? origin.priority : null;
    try {
      await outbox.apply(body, { args: [values], parent: { id, rootId }, priority });
    } catch (error) {
      if (isClosing(error)) throw error;
      log.error({ body: body.task, err: error }, "chord body could not be sent");
      const failure = new ChordError(`Callback error: ${errorRepr(error)}`);
      await this.failures.failBody(body, failure, origin);
    }
  }

  /** How long publishing may take with all its retries. wire: celery/backends/redis.py `_chord_publish_claim_expires`. */
  #publishSeconds(claimSeconds: number, body: WireSignature): number {
    const { settings } = this.#options;
    const timeout = settings.broker_connection_timeout;
    if (timeout === null) return claimSeconds * 2;
    const own = isRecord(body.options.retry_policy) ? body.options.retry_policy : {};
    const policy = settings.task_publish_retry_policy;
    const number = (name: string, fallback: number) => {
      const value = own[name];
      return typeof value === "number" ? value : fallback;
    };
    const retry = typeof body.options.retry === "boolean" ? body.options.retry : settings.task_publish_retry;
    const retries = retry ? Math.max(0, number("max_retries", policy.maxRetries ?? 3)) : 0;
    const start = number("interval_start", policy.intervalStart);
    const step = number("interval_step", policy.intervalStep);
    const longest = number("interval_max", policy.intervalMax);
    let waits = 0;
    for (let attempt = 0; attempt < retries; attempt++) waits += Math.min(start + step * attempt, longest);
    return Math.max(claimSeconds, Math.ceil((retries + 1) * timeout + waits + Math.max(timeout, 1)));
  }
}

function joinCause(error: unknown): unknown {
  return error instanceof JoinFailure ? error.cause : error;
}

/** Closing down: what could not be said any more must not be taken for the chord's own failure. */
function isClosing(error: unknown): boolean {
  return error instanceof TransportClosed || error instanceof ResultLost;
}
