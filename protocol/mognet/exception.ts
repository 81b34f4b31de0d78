/** Errors as Mognet stores them, as data. wire: Mognet 2.0.0 model/result.py `_ExceptionInfo`. */
import { DecodeError } from "../errors.ts";
import { isRecord, kindOf } from "../records.ts";
import type { MognetValue } from "./value.ts";

/** An error as stored. Nothing in it is ever executed. */
export interface MognetException {
  /** `module:Class`. */
  name: string;
  message: string;
  traceback: string;
  /** Base64 of a Python pickle, or null. */
  rawData: string | null;
  /** `application/python-pickle`, or null. */
  rawDataEncoding: string | null;
}

export const MOGNET_EXCEPTION_TYPE = "mognet.model.result:_ExceptionInfo";
/** Name of the error that stands where no value is yet. */
export const MOGNET_NOT_READY = "mognet.exceptions.result_exceptions:ResultNotReady";

/** The value that stores an error. */
export function mognetExceptionValue(error: MognetException): MognetValue {
  return {
    valueType: MOGNET_EXCEPTION_TYPE,
    rawValue: {
      name: error.name,
      message: error.message,
      traceback: error.traceback,
      raw_data: error.rawData,
      raw_data_encoding: error.rawDataEncoding,
    },
  };
}

/** The error that a value stores; null: it stores none. Throws `DecodeError` where Python refuses. */
export function readMognetException(value: MognetValue): MognetException | null {
  const { valueType, rawValue } = value;
  if (valueType !== MOGNET_EXCEPTION_TYPE || rawValue === null) return null;
  if (!isRecord(rawValue)) throw new DecodeError(`an error that is ${kindOf(rawValue)}`);
  const { name, message, traceback, raw_data: rawData = null, raw_data_encoding: encoding = null } = rawValue;
  if (typeof name !== "string" || typeof message !== "string" || typeof traceback !== "string") {
    throw new DecodeError("an error without name, message or traceback");
  }
  if ((rawData !== null && typeof rawData !== "string") || (encoding !== null && typeof encoding !== "string")) {
    throw new DecodeError("an error whose raw_data is no text");
  }
  return { name, message, traceback, rawData, rawDataEncoding: encoding };
}

/** Does the value stand for none, as revokes and `get_or_create` leave it? */
export function isNotReadyValue(value: MognetValue): boolean {
  return (
    isRecord(value.rawValue) && value.valueType === MOGNET_EXCEPTION_TYPE && value.rawValue.name === MOGNET_NOT_READY
  );
}
