/** What a pool cannot do. */
import { LovageError, type LovageErrorOptions } from "../../../protocol/errors.ts";

/** A pool cannot do what it was asked for: shrink to nothing, replace what cannot be replaced, load its tasks. */
export class PoolError extends LovageError {
  static readonly python = "builtins.ValueError";
  constructor(
    code: "POOL_BUSY" | "POOL_SIZE" | "POOL_RESTART" | "POOL_LOAD" | "AUTOSCALE" | "SIGNAL" | "RATE",
    message: string,
    options?: LovageErrorOptions,
  ) {
    super(code, message, options);
  }
}
