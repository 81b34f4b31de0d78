/** Telling a result that cannot be read, now or ever, from a store that fails. */
import { DecodeError } from "../../../protocol/errors.ts";
import { BackendError } from "../../result-backends/errors.ts";

/** What is wrong with what is stored; null: nothing is, or something else is wrong. */
export function unreadableIn(error: unknown): DecodeError | null {
  if (error instanceof DecodeError) return error;
  return error instanceof BackendError && error.cause instanceof DecodeError ? error.cause : null;
}
