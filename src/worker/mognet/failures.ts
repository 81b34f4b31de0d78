/** What a handler has thrown, as Mognet stores it. wire: mognet 3.4. */
import { EncodeError } from "../../../protocol/errors.ts";
import type { PythonError } from "../../../protocol/mognet/exception.ts";
import { pyRepr } from "../../../protocol/python-repr.ts";
import { RemoteTaskError } from "../../tasks/errors.ts";
import { readableThrown, toRemoteException, tracebackText } from "../../tasks/python-errors.ts";

/** wire: what pydantic raises for a value that JSON cannot hold. */
const UNENCODABLE = "pydantic_core._pydantic_core:PydanticSerializationError";

export function pythonErrorOf(thrown: unknown): PythonError {
  const error = readableThrown(thrown);
  const { module, type } = toRemoteException(error);
  const name = error instanceof EncodeError ? UNENCODABLE : `${module ?? "builtins"}:${type}`;
  return { name, message: messageOf(error), traceback: tracebackText(error) };
}

function messageOf(error: unknown): string {
  if (error instanceof RemoteTaskError) {
    const { args } = error;
    return args.length === 1 ? String(args[0]) : args.length === 0 ? "" : pyRepr(args);
  }
  return error instanceof Error ? error.message : String(error);
}
