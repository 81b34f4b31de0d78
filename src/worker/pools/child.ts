/** A thread or process of a pool, as the pool drives it. */
import type { FromChild, ToChild } from "./messages.ts";

export interface ChildEvents {
  message(message: FromChild): void;
  /** It is gone; `how` in billiard's words: `signal 9 (SIGKILL)`, `exitcode 1`. Called once. */
  exit(how: string): void;
}

export interface Child {
  /** The process that it is, or lives in. */
  readonly pid: number;
  /** Throws `DataCloneError` for what no clone can be made of. */
  post(message: ToChild): void;
  /** Ends it whatever it does. A thread knows no signals. */
  kill(signal: NodeJS.Signals): void;
  /** Whether anything but its death keeps the worker's process alive. */
  unref(): void;
}

/** Starts a child. Its first message is `init`, which the pool posts. */
export type Spawn = (events: ChildEvents) => Child;
