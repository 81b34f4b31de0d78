/**
 * Does the acts that the request machine asks for, in their order, and turns an act that failed into what it means for the
 * request: a good end becomes a failed one, a failure that cannot be stored is logged and settled.
 */
import type { EffectKind, RequestEvent } from "../../protocol/celery/request-machine.ts";
import { EncodeError } from "../../protocol/errors.ts";
import { ResultLost } from "../result-backends/errors.ts";
import type { Log } from "../runtime/log.ts";
import { Reject } from "../tasks/signals.ts";
import { TransportClosed } from "../transports/errors.ts";
import { effectError } from "./effect-errors.ts";
import type { Effects } from "./effects.ts";
import type { Request } from "./request.ts";

export interface ActsHost {
  readonly effects: Effects;
  readonly log: Log;
  /** The message is about to be acked. */
  acking(request: Request): void;
  /** The message is about to be settled, one way or another. */
  settling(request: Request): void;
  /** An act failed: the request ends in another way. */
  changed(request: Request, event: RequestEvent): void;
  /** All acts are done. */
  done(request: Request): void;
  /** Closing down: what could not be sent or stored any more stays unsettled, and comes back. */
  abandoned(request: Request): void;
}

/** What becomes of a request when an act of its good end fails. */
const CHANGED_BY: Partial<Record<EffectKind, RequestEvent>> = {
  "publish-callbacks": "publishFailed",
  "publish-chain": "publishFailed",
  "publish-retry": "retryFailed",
  "publish-replacement": "publishFailed",
  "store-success": "unencodable",
};

/** The acts that settle the message; an ack, a reject or a requeue on a lost connection settles nothing. */
const SETTLING: ReadonlySet<EffectKind> = new Set(["ack", "reject", "requeue"]);

export class Acts {
  readonly #host: ActsHost;
  readonly #effects: Effects;

  constructor(host: ActsHost) {
    this.#host = host;
    this.#effects = host.effects;
  }

  /** One after the other, beginning with `from`. */
  perform(request: Request, acts: readonly EffectKind[], from = 0): void {
    const host = this.#host;
    for (let index = from; index < acts.length; index++) {
      const act = acts[index]!;
      if (act === "ack") host.acking(request);
      if (SETTLING.has(act)) host.settling(request);
      let pending: Promise<unknown> | undefined;
      try {
        pending = this.#effects.perform(request, act);
      } catch (error) {
        return this.#failed(request, acts, index, error);
      }
      if (pending === undefined) continue;
      if (act === "publish-retry" && acts[index + 1] === "store-retry") {
        return this.#performRetry(request, acts, index, pending);
      }
      pending.then(
        () => this.perform(request, acts, index + 1),
        (error: unknown) => this.#failed(request, acts, index, error),
      );
      return;
    }
    host.done(request);
  }

  /** The acts of a start: announced and not waited for; stores of one task keep their order. */
  announce(request: Request, acts: readonly EffectKind[]): void {
    for (const act of acts) {
      if (act === "ack") this.#host.acking(request);
      this.#effects.perform(request, act)?.catch((error: unknown) => this.#sayFailed(request, act, error));
    }
  }

  /**
   * RETRY is stored right behind the publish, without waiting for the broker's confirmation: an attempt that ends at once
   * elsewhere must not find its FAILURE overwritten by our RETRY. What follows waits for both.
   */
  #performRetry(request: Request, acts: readonly EffectKind[], index: number, published: Promise<unknown>): void {
    const stored = this.#effects.perform(request, "store-retry");
    const noted = stored?.catch((error: unknown) => this.#sayFailed(request, "store-retry", error));
    published.then(
      () => Promise.resolve(noted).then(() => this.perform(request, acts, index + 2)),
      (error: unknown) => this.#failed(request, acts, index, error),
    );
  }

  #failed(request: Request, acts: readonly EffectKind[], index: number, error: unknown): void {
    const host = this.#host;
    const act = acts[index]!;
    this.#sayFailed(request, act, error);
    if (error instanceof TransportClosed || error instanceof ResultLost) return host.abandoned(request);
    // A result that is not stored shows only in the part of a chord that it has no form.
    const noPart = act === "return-chord-part" && error instanceof EncodeError;
    const change = noPart ? "unencodable" : CHANGED_BY[act];
    if (change === undefined) return this.perform(request, acts, index + 1);
    if (act === "publish-retry" && request.lost !== undefined) {
      request.error = request.lost;
      return host.changed(request, "workerLost");
    }
    request.error = change === "retryFailed" ? new Reject(error) : effectError(act, error);
    host.changed(request, change);
  }

  #sayFailed(request: Request, act: EffectKind, error: unknown): void {
    this.#host.log.error({ task: request.message.task, id: request.id, effect: act, err: error }, `${act} failed`);
  }
}
