/** What a worker serves: one side for each app, whichever protocol it speaks. The sides share slots and a shutdown. */
import type { WorkerStats } from "../worker/report.ts";
import type { Slots } from "../worker/slots.ts";
import type { FleetOptions } from "./fleet-member.ts";
import type { PoolOptions } from "./make-pool.ts";

export interface ServedOptions extends FleetOptions, PoolOptions {
  /** Names of the queues to consume, as the app knows them. */
  readonly queues?: readonly string[];
  readonly name?: string;
  readonly slots: Slots;
  /** The broker is given up. */
  onGiveUp(error: Error): void;
  /** It has done what it is to do in one life (`max_tasks`), or was told from afar to stop. */
  onEnough(): void;
}

export interface Served {
  readonly app: object;
  /** Node name. */
  readonly hostname: string;
  readonly queueNames: readonly string[];
  readonly taskNames: readonly string[];
  readonly stats: Readonly<WorkerStats>;
  /** Tasks of its own that may run at a time; `Infinity`: as many as there are slots. */
  readonly concurrency: number;
  /** Task bodies running now. */
  readonly active: number;
  /** Messages held for their time. */
  readonly scheduled: number;
  start(signal: AbortSignal): Promise<void>;
  stop(mode: "warm" | "cold"): Promise<void>;
  /** After it has stopped: its connection goes. */
  close(): Promise<void>;
}

export function sumOfStats(sides: readonly Served[]): WorkerStats {
  const sum: WorkerStats = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, refused: 0 };
  for (const { stats } of sides) for (const key of STATS) sum[key] += stats[key];
  return sum;
}

const STATS = ["received", "succeeded", "failed", "retried", "revoked", "refused"] as const;
