/** What the harness throws: a program that is missing, a peer that went away, a wait that ended. */
import { LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";

/** The harness could not do what a test asked. `code` says which kind. */
export class HarnessError extends LovageError {}

/** A program that the harness starts is not installed. */
export class ProgramNotFound extends HarnessError {
  readonly program: string;
  constructor(program: string, hint: string, options?: LovageErrorOptions) {
    super("PROGRAM_NOT_FOUND", `${program} was not found: ${hint}`, options);
    this.program = program;
  }
}

/** A process ended, or did not become ready, while a test needed it. The message carries the end of its log. */
export class PeerFailed extends HarnessError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("PEER_FAILED", message, options);
  }
}

/** A condition did not come true before its deadline. The message says what was waited for and what was last seen. */
export class WaitTimeout extends HarnessError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("WAIT_TIMEOUT", message, options);
  }
}

/** A queue still holds messages. */
export class NotDrained extends HarnessError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("NOT_DRAINED", message, options);
  }
}

/** Python raised while it served a request of `PythonClient`. */
export class PythonRaised extends HarnessError {
  /** Class name, e.g. `OperationalError`. */
  readonly type: string;
  readonly module: string;
  readonly traceback: string;
  constructor(raised: { type: string; module: string; message: string; traceback: string }) {
    super("PYTHON_RAISED", `Python raised ${raised.module}.${raised.type}: ${raised.message}`);
    this.type = raised.type;
    this.module = raised.module;
    this.traceback = raised.traceback;
  }
}
