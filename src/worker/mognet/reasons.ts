/** Why a run is over before its body is; the reasons of `ctx.signal`. */
import { LovageError } from "../../../protocol/errors.ts";

/** Why `ctx.signal` aborts in a task whose worker stops: the request has gone back to its queue and is run again. */
export class HandedBack extends LovageError {
  constructor() {
    super("HANDED_BACK", "the worker is shutting down: the task went back to its queue", { retryable: true });
  }
}

/** The request came to another node while its connection was lost here. */
export class StartedElsewhere extends LovageError {
  readonly node: string | null;
  constructor(node: string | null) {
    super("STARTED_ELSEWHERE", `the task was started again by node ${node ?? "?"}: what it gives here is dropped`);
    this.node = node;
  }
}

/** The deadline of the request has passed. */
export class DeadlineExceeded extends LovageError {
  static readonly python = "builtins.TimeoutError";
  constructor() {
    super("DEADLINE_EXCEEDED", "the deadline of the request has passed");
  }
}
