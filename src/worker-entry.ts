/** `lovage/worker`: run tasks. */
export { Worker, type WorkerApp, type WorkerOptions } from "./app/worker.ts";
export type { AutoscaleRange } from "./worker/autoscaler.ts";
export { PoolError } from "./worker/pools/errors.ts";
export type { PoolName } from "./worker/pools/pool.ts";
export type { WorkerStats } from "./worker/report.ts";
export type { StopMode } from "./worker/worker.ts";
