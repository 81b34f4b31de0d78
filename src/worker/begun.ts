/**
 * Requests that have begun here, until their message is settled, and the copies of them that a lost connection brings back: a task
 * that began before the loss is not run once more, it takes over the new delivery.
 */
import { crc32 } from "node:zlib";
import { RecentAttempts } from "./recent-attempts.ts";
import type { Request } from "./request.ts";

/** Of a body, to tell calls apart: this many take some 3 microseconds. */
const SUMMED_BYTES = 4_096;

export class Begun {
  readonly #byId = new Map<string, Request>();
  /** Requests whose id runs here already: two messages under one id. */
  readonly #twins = new Set<Request>();
  /** Acked here: when the connection was lost before the broker saw the ack, the copy that comes back is not run again. */
  readonly #acked = new RecentAttempts(10_000);
  #losses = 0;

  add(request: Request): void {
    if (this.#byId.has(request.id)) this.#twins.add(request);
    else this.#byId.set(request.id, request);
  }

  /** Its message is settled, or all is done. */
  forget(request: Request): void {
    if (this.#byId.get(request.id) === request) this.#byId.delete(request.id);
    else if (this.#twins.size > 0) this.#twins.delete(request);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  *running(): Generator<Request> {
    for (const request of this.#byId.values()) if (request.state === "running") yield request;
    for (const request of this.#twins) if (request.state === "running") yield request;
  }

  /** What runs under that id. */
  findRunning(id: string): Request | null {
    const request = this.#byId.get(id);
    return request?.state === "running" ? request : null;
  }

  /**
   * A copy of a task that began here and is not settled yet, delivered again because the connection was lost: the one that
   * began takes over the new delivery. A copy of one that was acked before the loss, or in vain after it, is acked again.
   * False: it is no such copy. A broker that has crashed may call a message redelivered that never was delivered, so that the mark
   * alone proves nothing.
   */
  adopt(copy: Request): boolean {
    if (!copy.delivery.info.redelivered) return false;
    const key = attemptKey(copy);
    if (this.#acked.takeOlder(key, this.#losses)) {
      this.#ackAgain(copy, key);
      return true;
    }
    const same = this.#lostOf(copy.id, key);
    if (same === null) return false;
    same.delivery = copy.delivery;
    if (!same.plan.acksLate) this.#ackAgain(copy, key);
    return true;
  }

  /** On a connection that has gone the ack is in vain: the copy will come, and belongs to the time before the loss. */
  noteAck(request: Request): void {
    this.#acked.add(attemptKey(request), request.delivery.lost ? this.#losses - 1 : this.#losses);
  }

  connectionLost(): void {
    this.#losses++;
    this.#acked.connectionLost();
  }

  /** What has begun of that attempt and has lost its message. */
  #lostOf(id: string, key: string): Request | null {
    const isIt = (request: Request) => request.delivery.lost && attemptKey(request) === key;
    const first = this.#byId.get(id);
    if (first !== undefined && isIt(first)) return first;
    for (const twin of this.#twins) if (twin.id === id && isIt(twin)) return twin;
    return null;
  }

  #ackAgain(copy: Request, key: string): void {
    this.#acked.add(key, this.#losses);
    copy.delivery.ack();
  }
}

/** An id is not enough: the end of what takes a task's place (`replace`) has the task's own, and callers give some again. */
function attemptKey({ message, delivery }: Request): string {
  const { id, retries, replacedTaskNesting, parentId, task } = message;
  const { body } = delivery.message;
  const sum = crc32(body.byteLength > SUMMED_BYTES ? body.subarray(0, SUMMED_BYTES) : body);
  return `${id}:${retries}:${replacedTaskNesting}:${parentId}:${body.byteLength}:${sum}:${task}`;
}
