/** Mognet's half of `lovage/protocol`. */
export * from "./control.ts";
export * from "./deadline.ts";
export * from "./exception.ts";
export { decodePlainJson } from "./json.ts";
export { encodeAsciiJson, encodeCompactJson } from "./json-text.ts";
export * from "./kwargs-repr.ts";
export * from "./message.ts";
export * from "./names.ts";
export { describePickle, PickledObject, type PickleLimits } from "./pickle-reader.ts";
export type { PickledCall, PickleItem } from "./pickle-writer.ts";
export * from "./refusals.ts";
export * from "./request.ts";
export * from "./request-machine.ts";
export * from "./result.ts";
export * from "./states.ts";
export * from "./timedelta.ts";
export * from "./times.ts";
export * from "./value.ts";
