/**
 * Which stored error a thrown one came from. A task that fails with its child's error stores that very error, as Python does when it
 * pickles what it has unpickled: class, arguments and traceback stay what they were, also those that only Python can make.
 */
import type { MognetException } from "../../protocol/mognet/exception.ts";

const origins = new WeakMap<Error, MognetException>();

export function rememberStoredError(error: Error, stored: MognetException): void {
  origins.set(error, stored);
}

/** Null: it did not come from a store. */
export function storedErrorOf(error: unknown): MognetException | null {
  return (error instanceof Error ? origins.get(error) : undefined) ?? null;
}
