/** What a chord's error says: the `repr()` that Python gives an exception, which may have been ours. */
import type { RemoteException } from "../../../protocol/celery/exceptions.ts";
import { reprException } from "../../../protocol/saferepr.ts";
import { toRemoteException } from "../../tasks/python-errors.ts";

export function exceptionRepr({ type, args }: RemoteException): string {
  return reprException(type.slice(type.lastIndexOf(".") + 1), args);
}

export function errorRepr(error: unknown): string {
  return exceptionRepr(toRemoteException(error));
}
