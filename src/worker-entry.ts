/** `lovage/worker`: run tasks. */
export { Worker, type WorkerOptions } from "./app/worker.ts";
export type { WorkerStats } from "./worker/report.ts";
export type { StopMode } from "./worker/worker.ts";
