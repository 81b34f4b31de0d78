/** What can be wrong with events that users of Lovage send. */
import { LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";

/** A custom event whose type or fields no receiver could make sense of. */
export class InvalidEvent extends LovageError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("INVALID_EVENT", message, options);
  }
}
