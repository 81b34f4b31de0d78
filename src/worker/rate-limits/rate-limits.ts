/**
 * Rate limits: requests of a limited task wait in the order in which they came until its bucket has a token. They stay unacked and
 * hold their share of prefetch, as in Celery; unlike there, they can be seen while they wait. wire: behaviour 1.7;
 * celery/worker/consumer/consumer.py `_limit_task`, `reset_rate_limits`.
 */
import type { TimerEntry, TimerHeap } from "../../runtime/timer-heap.ts";
import type { Request } from "../request.ts";
import { RequestIndex } from "../request-index.ts";
import { TokenBucket } from "./token-bucket.ts";

interface Limit {
  bucket: TokenBucket | null;
  /** From `head` on; what was revoked meanwhile is no longer in the index. */
  queue: Request[];
  head: number;
  timer: TimerEntry | null;
}

export class RateLimits {
  readonly #timers: TimerHeap;
  readonly #start: (request: Request) => void;
  readonly #limits = new Map<string, Limit>();
  /** What waits for a token. */
  readonly waiting = new RequestIndex();

  constructor(timers: TimerHeap, start: (request: Request) => void) {
    this.#timers = timers;
    this.#start = start;
  }

  /** Starts per second from now on; 0: no limit. What waits goes on in its order. */
  set(task: string, perSecond: number): void {
    const known = this.#limits.get(task);
    if (perSecond === 0 && known === undefined) return;
    const limit = known ?? { bucket: null, queue: [], head: 0, timer: null };
    limit.bucket = perSecond === 0 ? null : new TokenBucket(perSecond);
    this.#limits.set(task, limit);
    if (limit.timer !== null) this.#timers.cancel(limit.timer);
    limit.timer = null;
    this.#drain(limit);
    if (perSecond === 0) this.#limits.delete(task);
  }

  /** True: the request was taken, and is started when its turn comes (perhaps at once). */
  take(request: Request): boolean {
    if (this.#limits.size === 0) return false;
    const limit = this.#limits.get(request.message.task);
    if (limit === undefined) return false;
    limit.queue.push(request);
    this.waiting.add(request);
    if (limit.timer === null) this.#drain(limit);
    return true;
  }

  /** Gives up everything that waits. */
  drain(): Request[] {
    const all = [...this.waiting];
    for (const limit of this.#limits.values()) {
      if (limit.timer !== null) this.#timers.cancel(limit.timer);
      limit.timer = null;
      limit.queue = [];
      limit.head = 0;
    }
    this.waiting.clear();
    return all;
  }

  #drain(limit: Limit): void {
    while (limit.head < limit.queue.length) {
      const request = limit.queue[limit.head]!;
      if (!this.waiting.has(request)) {
        limit.head++;
        continue;
      }
      if (limit.bucket !== null && !limit.bucket.take()) {
        limit.timer = this.#timers.after(Math.ceil(limit.bucket.waitMs()), () => {
          limit.timer = null;
          this.#drain(limit);
        });
        break;
      }
      limit.head++;
      this.waiting.delete(request);
      this.#start(request);
    }
    if (limit.head === limit.queue.length || limit.head > 1024) {
      limit.queue = limit.queue.slice(limit.head);
      limit.head = 0;
    }
  }
}
