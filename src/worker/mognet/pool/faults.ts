/** Errors of the worker's calls that a task may want to tell apart, across the border of a pool. */
import { LovageError } from "../../../../protocol/errors.ts";
import { BackendGetMetaError, BackendStoreError, ResultLost } from "../../../result-backends/errors.ts";
import { CouldNotSubmit } from "../../../tasks/mognet-errors.ts";
import { packError } from "../../pools/freight.ts";
import type { PackedError } from "../../pools/messages.ts";

type Make = (id: string, message: string, retryable: boolean) => LovageError;

const FAULTS: readonly [class_: abstract new (...args: never[]) => LovageError, make: Make][] = [
  [CouldNotSubmit, (id, message, retryable) => new CouldNotSubmit(id, message, { retryable })],
  [ResultLost, (id, message, retryable) => new ResultLost(id, message, { retryable })],
  [BackendStoreError, (id, message, retryable) => new BackendStoreError(id, message, { retryable })],
  [BackendGetMetaError, (id, message, retryable) => new BackendGetMetaError(id, message, { retryable })],
];

export function packFault(error: unknown, id: string): PackedError {
  const packed = packError(error);
  const known = FAULTS.find(([class_]) => error instanceof class_);
  if (known === undefined || !(error instanceof LovageError)) return packed;
  const about = error instanceof CouldNotSubmit ? error.requestId : "taskId" in error ? String(error.taskId) : id;
  const { message, retryable } = error;
  return { ...packed, fault: { name: known[0].name, id: about, message, retryable } };
}

/** Null: it is none of these. */
export function unpackFault({ fault }: PackedError): LovageError | null {
  const known = FAULTS.find(([class_]) => class_.name === fault?.name);
  return known === undefined || fault === undefined ? null : known[1](fault.id, fault.message, fault.retryable);
}
