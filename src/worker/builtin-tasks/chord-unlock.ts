/**
 * `celery.chord_unlock`: looks whether all members of a header have ended, again and again, and then sends the body. It is what
 * completes chords where the result backend cannot count. wire: celery-wire 8.6; celery/app/builtins.py `add_unlock_chord_task`.
 */
import type { ResultMeta } from "../../../protocol/celery/result-meta.ts";
import { type ResultTuple, readResultTuples } from "../../../protocol/celery/result-tuple.ts";
import { readSignature, type WireSignature } from "../../../protocol/celery/signature.ts";
import { isReady } from "../../../protocol/celery/states.ts";
import { numberOr } from "../../../protocol/records.ts";
import { requireChords } from "../../result-backends/chord-counter.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { ChordError, TaskArgumentError } from "../../tasks/errors.ts";
import { Retry } from "../../tasks/signals.ts";
import type { RunningContext } from "../running-context.ts";
import { JoinFailure, join } from "../workflow/chord-results.ts";
import type { Chords } from "../workflow/chords.ts";
import { errorRepr } from "../workflow/error-text.ts";
import type { Origin } from "../workflow/failures.ts";
import { resultId } from "../workflow/links.ts";
import { argument, workerContext } from "./arguments.ts";
import type { BuiltinHost } from "./index.ts";

export function chordUnlock(host: BuiltinHost): AnyTask {
  const behaviour = {
    ignoreResult: true,
    maxRetries: null,
    defaultRetryDelay: host.settings.result_chord_retry_interval,
  };
  return task("celery.chord_unlock", behaviour, async () => {
    const { backend, chords } = host;
    requireChords(backend);
    if (backend === null || chords === null) return;
    await new Unlock(host, backend, chords, workerContext()).run();
  });
}

class Unlock {
  readonly #host: BuiltinHost;
  readonly #backend: ResultBackend<ResultMeta>;
  readonly #chords: Chords;
  readonly #context: RunningContext;
  readonly #groupId: string;
  readonly #body: WireSignature;
  readonly #header: readonly ResultTuple[];

  constructor(host: BuiltinHost, backend: ResultBackend<ResultMeta>, chords: Chords, context: RunningContext) {
    this.#host = host;
    this.#backend = backend;
    this.#chords = chords;
    this.#context = context;
    const { args, kwargs } = context.exactly();
    const groupId = argument("group_id", 0, args, kwargs);
    if (typeof groupId !== "string") throw new TaskArgumentError("group_id must be a text");
    this.#groupId = groupId;
    this.#body = readSignature(argument("callback", 1, args, kwargs));
    this.#header = readResultTuples(argument("result", 4, args, kwargs));
  }

  async run(): Promise<void> {
    let ready: boolean;
    try {
      ready = await this.#allReady();
    } catch (error) {
      return this.#again(error);
    }
    if (!ready) {
      if (this.#host.settings.lovage_fail_unreachable && (await this.#bodyFailed())) return;
      return this.#again(null);
    }
    const { log, settings } = this.#host;
    let values: unknown[];
    try {
      const group: ResultTuple = [[this.#groupId, null], this.#header];
      values = await join(this.#backend, group, settings.result_chord_join_timeout, true);
    } catch (error) {
      const failure = chordErrorOf(error);
      log.error({ chord: this.#groupId, err: failure }, "chord failed");
      return this.#chords.failures.failBody(this.#body, failure, this.#origin());
    }
    await this.#chords.sendBody(this.#body, values, this.#origin());
  }

  /** Looks at the members in order and stops at the first that has not ended. */
  async #allReady(): Promise<boolean> {
    for (let at = 0; at < this.#header.length; at += readsAtOnce) {
      const reads = this.#header.slice(at, at + readsAtOnce).map((member) => this.#isReady(member));
      if ((await Promise.all(reads)).includes(false)) return false;
    }
    return true;
  }

  async #isReady([[id], children]: ResultTuple): Promise<boolean> {
    if (children !== null) return (await Promise.all(children.map((child) => this.#isReady(child)))).every(Boolean);
    const record = await this.#backend.get(id);
    return record !== null && isReady(record.status);
  }

  /** A member that will never end has failed the chord already: looking on would never stop. */
  async #bodyFailed(): Promise<boolean> {
    const id = resultId(this.#body);
    const record = id === null ? null : await this.#backend.get(id);
    return record?.status === "FAILURE";
  }

  /** Another look later; a chord that nobody will look at again fails. */
  async #again(error: unknown): Promise<never> {
    const { args, kwargs } = this.#context;
    const interval = numberOr(argument("interval", 2, args, kwargs, null), null);
    const maxRetries = numberOr(argument("max_retries", 3, args, kwargs, null), null);
    try {
      return this.#context.retry({
        countdown: interval ?? this.#host.settings.result_chord_retry_interval,
        maxRetries,
        ...(error === null ? {} : { exc: error }),
      });
    } catch (outcome) {
      if (outcome instanceof Retry) throw outcome;
      const message = `chord_unlock could not be retried: ${errorRepr(outcome)}`;
      const after = error === null || error === outcome ? "" : ` (after deps.ready() raised ${errorRepr(error)})`;
      const failure = new ChordError(message + after, { cause: outcome });
      await this.#chords.failures.failBody(this.#body, failure, this.#origin());
      throw outcome;
    }
  }

  #origin(): Origin {
    const { id, rootId, replyTo, deliveryInfo } = this.#context;
    return { id, rootId, replyTo, priority: deliveryInfo.priority, children: [], context: this.#context };
  }
}

const readsAtOnce = 500;

/** Celery's text names the member only where its client-side cache of results is on, which it is not by default. */
function chordErrorOf(error: unknown): ChordError {
  const cause = error instanceof JoinFailure ? error.cause : error;
  return new ChordError(errorRepr(cause), { cause });
}
