/** Waiting with a deadline: for a condition, or for a signal that a test or its subject gives. */
import { WaitTimeout } from "./errors.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";

/** For `waitFor()`. */
export interface WaitOptions {
  /** Milliseconds. @default 30_000 */
  timeout?: number;
  /** Milliseconds between two looks. @default 20 */
  interval?: number;
  /** What is waited for, for the error. @default "the condition" */
  describe?: string;
  signal?: AbortSignal;
}

const waitOptions: NamesOf<WaitOptions> = {
  timeout: true,
  interval: true,
  describe: true,
  signal: true,
};

export const defaultWaitMs = 30_000;

/** Resolves after that many milliseconds, or rejects with the reason when `signal` aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Asks again until the answer is neither `undefined`, `null` nor `false`, and resolves with it. An error of the condition
 * counts as "not yet" and is the cause of the `WaitTimeout` that ends the wait.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions = {},
): Promise<Exclude<T, undefined | null | false>> {
  knownOptions(options, waitOptions, "waitFor()");
  const { timeout = defaultWaitMs, interval = 20, describe = "the condition", signal } = options;
  const end = performance.now() + timeout;
  for (;;) {
    let cause: unknown;
    let seen: T | undefined;
    try {
      seen = await condition();
      if (isThere(seen)) return seen;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= end) {
      const last = cause === undefined ? `last seen: ${String(seen)}` : `last error: ${String(cause)}`;
      throw new WaitTimeout(`waited ${timeout} ms for ${describe} (${last})`, { cause });
    }
    await pause(interval, signal);
  }
}

function isThere<T>(value: T): value is Exclude<T, undefined | null | false> {
  return value !== undefined && value !== null && value !== false;
}

/** The promise, or a `WaitTimeout` when it takes longer than `timeout` milliseconds. */
export async function within<T>(promise: Promise<T>, timeout: number, describe: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new WaitTimeout(`waited ${timeout} ms for ${describe}`)), timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether the promise settles within that many milliseconds. */
export async function endsWithin(promise: Promise<unknown>, timeout: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, timeout, false);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Something that happened, told by the code under test and awaited by the test; every value is kept until it is taken. */
export interface TestSignal<T> {
  /** Tells of one occurrence. */
  emit(value: T): void;
  /** Takes the oldest occurrence not yet taken, waiting for it if need be. `timeout` in milliseconds. @default 30_000 */
  next(timeout?: number): Promise<T>;
  /** Takes that many occurrences, in order. */
  take(count: number, timeout?: number): Promise<T[]>;
  /** Every occurrence so far, taken or not. */
  readonly all: readonly T[];
}

/** Makes a signal. `describe` names it in the error of a wait that ends. */
export function testSignal<T = void>(describe = "a signal"): TestSignal<T> {
  const all: T[] = [];
  const waiting: ((value: T) => void)[] = [];
  let taken = 0;
  const next = async (timeout = defaultWaitMs): Promise<T> => {
    if (taken < all.length) return all[taken++] as T;
    let resolveNext: (value: T) => void = () => undefined;
    const promise = new Promise<T>((resolve) => {
      resolveNext = resolve;
      waiting.push(resolve);
    });
    try {
      return await within(promise, timeout, `${describe} (told ${all.length} times so far)`);
    } finally {
      const index = waiting.indexOf(resolveNext);
      if (index >= 0) waiting.splice(index, 1);
    }
  };
  return {
    all,
    next,
    emit(value) {
      all.push(value);
      const first = waiting.shift();
      if (first) {
        taken++;
        first(value);
      }
    },
    async take(count, timeout) {
      const values: T[] = [];
      while (values.length < count) values.push(await next(timeout));
      return values;
    },
  };
}
