/**
 * `lovage/protocol`: the codecs of Celery and Kombu as pure functions over text and bytes. Nothing here opens a socket, reads
 * a clock or draws a random number.
 */
export * from "./binding.ts";
export * from "./bytes.ts";
export * from "./celery/exceptions.ts";
export * from "./celery/result-codec.ts";
export * from "./celery/result-keys.ts";
export * from "./celery/result-meta.ts";
export * from "./celery/result-tuple.ts";
export * from "./celery/signature.ts";
export * from "./celery/states.ts";
export * from "./celery/task-message.ts";
export * from "./errors.ts";
export * from "./iso-time.ts";
export * from "./json.ts";
export * from "./kombu/envelope.ts";
export * from "./kombu/filesystem-names.ts";
export * from "./kombu/redis-keys.ts";
export * from "./message.ts";
export * from "./routing.ts";
export * from "./saferepr.ts";
export * from "./serialization.ts";
export * from "./values.ts";
