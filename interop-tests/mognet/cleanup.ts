/** Ends things all at once, whatever fails; the first one, which the others stand on, last. */
export class Cleanup implements AsyncDisposable {
  readonly #made: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(thing: T): T {
    this.#made.push(thing);
    return thing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [first, ...later] = this.#made.splice(0);
    await Promise.allSettled(later.map((thing) => thing[Symbol.asyncDispose]()));
    await first?.[Symbol.asyncDispose]();
  }
}
