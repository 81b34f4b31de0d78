/** `--pool` and `--concurrency`, wherever a worker is started. */
import type { PoolName } from "../worker/pools/pool.ts";
import { type Given, UsageError } from "./command.ts";

const POOLS: readonly PoolName[] = ["async", "threads", "processes"];

export const POOL_FLAG = {
  type: "string",
  short: "P",
  value: "POOL",
  help: "where tasks run: async (on the event loop), threads, or processes (Celery: prefork)",
} as const;

/** Celery's name for processes is understood too. */
export function poolOf(given: Given): PoolName | undefined {
  const text = given.text("pool");
  if (text === undefined) return undefined;
  const pool = POOLS.find((name) => name === (text === "prefork" ? "processes" : text));
  if (pool === undefined) throw new UsageError(`--pool is one of ${POOLS.join(", ")}, not ${text}`);
  return pool;
}

export function concurrencyOf(given: Given): number | undefined {
  // 0 and auto mean the default to Celery too.
  if (given.text("concurrency") === "auto") return undefined;
  const number = given.number("concurrency");
  if (number === undefined || number === 0) return undefined;
  if (!Number.isInteger(number) || number < 1) throw new UsageError("--concurrency is a whole number, or auto");
  return number;
}
