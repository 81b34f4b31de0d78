/** A set of requests, found by id too. Two messages may have one id. */
import type { Request } from "./request.ts";

export class RequestIndex implements Iterable<Request> {
  readonly #all = new Set<Request>();
  /** The latest of an id. */
  readonly #byId = new Map<string, Request>();
  /** How many more there are of an id that occurs more than once. */
  readonly #more = new Map<string, number>();

  get size(): number {
    return this.#all.size;
  }

  add(request: Request): void {
    if (this.#all.has(request)) return;
    this.#all.add(request);
    if (this.#byId.has(request.id)) this.#more.set(request.id, (this.#more.get(request.id) ?? 0) + 1);
    this.#byId.set(request.id, request);
  }

  has(request: Request): boolean {
    return this.#all.has(request);
  }

  find(id: string): Request | null {
    return this.#byId.get(id) ?? null;
  }

  delete(request: Request): boolean {
    if (!this.#all.delete(request)) return false;
    const { id } = request;
    const more = this.#more.get(id) ?? 0;
    if (more === 0) {
      this.#byId.delete(id);
      return true;
    }
    if (more === 1) this.#more.delete(id);
    else this.#more.set(id, more - 1);
    if (this.#byId.get(id) === request) this.#byId.set(id, this.#other(id));
    return true;
  }

  clear(): void {
    this.#all.clear();
    this.#byId.clear();
    this.#more.clear();
  }

  [Symbol.iterator](): Iterator<Request> {
    return this.#all[Symbol.iterator]();
  }

  /** Rare enough to look through all. */
  #other(id: string): Request {
    for (const request of this.#all) if (request.id === id) return request;
    throw new RangeError(`no request of id ${id} is left`);
  }
}
