/**
 * Waits for results on Redis: who waits for what, the tracking that says what has changed, and the look at it, which is made in one
 * script for many. wire: the polling of Mognet 2.0.0 backend/redis_result_backend.py `wait`, which this stands for.
 */
import type { MognetNames } from "../../../protocol/mognet/names.ts";
import { isMognetDone } from "../../../protocol/mognet/states.ts";
import { isRedisLoaded, loadRedis } from "../../runtime/redis-connection.ts";
import { Waits } from "../waits.ts";
import type { MognetOutcome, MognetWaitOptions } from "./mognet-store.ts";
import { type AwaitedFound, AwaitedReading, type AwaitedWants, wantsOf } from "./redis-awaited.ts";
import type { MognetRedisLink } from "./redis-link.ts";
import { RedisTracking } from "./redis-tracking.ts";
import type { WholeStoreSettings } from "./store-settings.ts";

export interface RedisWaitingParts {
  readonly names: MognetNames;
  readonly settings: WholeStoreSettings;
  readonly link: MognetRedisLink;
  readonly pollMs?: number;
  readonly lookMs?: number;
}

export class RedisWaiting {
  readonly #names: MognetNames;
  readonly #tracking: RedisTracking;
  readonly #waits: Waits<AwaitedFound>;
  /** Of what is awaited, what more than the end is wanted: "v" the value, "u" all updates. */
  readonly #wants = new Map<string, AwaitedWants>();
  #loading: Promise<void> | null = null;

  constructor({ names, settings, link, ...times }: RedisWaitingParts) {
    this.#names = names;
    this.#waits = new Waits({
      isReady: ({ result }) => isMognetDone(result.state),
      onIdle: (id) => {
        this.#wants.delete(id);
        this.#tracking.drop(names.resultKey(id));
      },
    });
    const waits = this.#waits;
    const reading = new AwaitedReading({ names, settings, link, waits, wants: (id) => this.#wants.get(id) ?? "" });
    this.#tracking = new RedisTracking({
      target: link.target,
      connection: link.connectionOptions,
      log: link.log,
      read: (client, keys) => reading.read(client, keys),
      onAway: (error) => waits.storeIsAway(error),
      onBack: () => waits.storeIsBack(),
      onRefused: (error) => {
        for (const id of [...waits.ids()]) waits.fail(id, link.unreadable(id, error));
      },
      ...times,
    });
  }

  /** How results are learned of: told by the server, or by reading. */
  get how(): { mode: RedisTracking["mode"]; ids: number; reads: number } {
    const { mode, size, reads } = this.#tracking;
    return { mode, ids: size, reads };
  }

  /** Why what is awaited is not learned of just now. */
  get outage(): Error | null {
    return this.#waits.outage;
  }

  async waitFor(id: string, { value, onUpdate, ...options }: MognetWaitOptions): Promise<MognetOutcome> {
    const wait = this.#waits.add(id, { ...options, ...(onUpdate && { onUpdate: ({ result }) => onUpdate(result) }) });
    if (this.#waits.has(id)) {
      const wanted = this.#wants.get(id) ?? "";
      const wants = wantsOf(value === true || wanted.includes("v"), onUpdate !== undefined || wanted.includes("u"));
      if (wants !== "") this.#wants.set(id, wants);
      this.#track(this.#names.resultKey(id));
    }
    const found = await wait;
    if (value === true && found.unreadable !== undefined) throw found.unreadable;
    return { result: found.result, value: value === true ? found.value : null };
  }

  close(): void {
    this.#waits.close();
    this.#tracking.close();
  }

  #track(key: string): void {
    if (isRedisLoaded()) return this.#tracking.want(key);
    this.#loading ??= loadRedis().then(
      () => {
        for (const id of this.#waits.ids()) this.#tracking.want(this.#names.resultKey(id));
      },
      (error: unknown) => {
        this.#loading = null;
        for (const id of [...this.#waits.ids()]) this.#waits.fail(id, error);
      },
    );
  }
}
