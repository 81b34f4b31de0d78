/** What can be wrong with control commands: our callers' mistakes, and what a command tells the caller on the other side. */
import { ImproperlyConfigured, LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";

/** A command refuses; the caller sees `repr` of the Python exception of this type. */
export class CommandError extends LovageError {
  /** Python's name of the exception, such as `ValueError`. */
  readonly type: string;
  readonly args: readonly unknown[];

  constructor(type: string, args: readonly unknown[], options?: LovageErrorOptions) {
    super("COMMAND_REFUSED", `${type}: ${args.map(String).join(", ")}`, options);
    this.type = type;
    this.args = args;
  }
}

/** `app.control` was called with what no control message can be made of. */
export class InvalidBroadcast extends ImproperlyConfigured {
  static override readonly python: string = "builtins.ValueError";
  override readonly code = "INVALID_BROADCAST";
}
