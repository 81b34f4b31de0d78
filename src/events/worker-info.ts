/** A worker as its events tell of it. wire: celery/events/state.py `Worker`; behaviour 4.5. */
import { numberOr } from "../../protocol/records.ts";
import type { ReceivedEvent } from "./receiver.ts";

/** What is known of a worker, by its latest event. */
export interface WorkerInfo {
  readonly hostname: string;
  readonly pid: number | null;
  /** Seconds between its heartbeats. */
  readonly freq: number;
  readonly active: number | null;
  readonly processed: number | null;
  readonly loadavg: readonly number[] | null;
  /** `py-celery`, `lovage`, … */
  readonly swIdent: string | null;
  readonly swVer: string | null;
  readonly swSys: string | null;
  readonly clock: number;
  /** Unix seconds here of the latest heartbeats, oldest first; empty: it said good-bye. */
  readonly heartbeats: readonly number[];
}

/** A worker as `State` keeps it. */
export type KeptWorker = { -readonly [K in keyof WorkerInfo]: WorkerInfo[K] };

const HEARTBEATS = 4;
/** A worker that is silent for this many of its intervals is taken for dead. */
const EXPIRE_WINDOW = 2;
const DEFAULT_FREQUENCY = 60;
/** Averages of one, five and fifteen minutes. */
const LOADS = 3;
/** Characters that are kept of what a worker says it is. */
const LONGEST_SHORT = 255;
/** Seconds; a worker that is heard of more seldom than daily would never be missed. */
const MOST_SELDOM = 86_400;

export function newWorker(hostname: string): KeptWorker {
  return {
    hostname,
    pid: null,
    freq: DEFAULT_FREQUENCY,
    active: null,
    processed: null,
    loadavg: null,
    swIdent: null,
    swVer: null,
    swSys: null,
    clock: 0,
    heartbeats: [],
  };
}

/** Takes over what an event of the worker says of it. */
export function tellWorker(worker: KeptWorker, { fields, pid, clock }: ReceivedEvent): void {
  worker.pid = pid ?? worker.pid;
  worker.clock = clock ?? worker.clock;
  worker.freq = frequencyOr(fields.freq, worker.freq);
  worker.active = numberOr(fields.active, worker.active);
  worker.processed = numberOr(fields.processed, worker.processed);
  worker.loadavg = numbers(fields.loadavg) ?? worker.loadavg;
  worker.swIdent = shortOr(fields.sw_ident, worker.swIdent);
  worker.swVer = shortOr(fields.sw_ver, worker.swVer);
  worker.swSys = shortOr(fields.sw_sys, worker.swSys);
}

/** Every event of a worker is a sign of life, be it of a task. */
export function beat(worker: KeptWorker, localReceived: number): void {
  worker.heartbeats = [...worker.heartbeats, localReceived].sort((a, b) => a - b).slice(-HEARTBEATS);
}

/** Whether its last sign of life is not too old. */
export function isAliveAt(worker: WorkerInfo, nowMs: number): boolean {
  const last = worker.heartbeats.at(-1);
  return last !== undefined && nowMs / 1000 < last + worker.freq * EXPIRE_WINDOW;
}

function numbers(value: unknown): readonly number[] | null {
  return Array.isArray(value) ? value.slice(0, LOADS).map((item) => numberOr(item, 0)) : null;
}

function shortOr(value: unknown, fallback: string | null): string | null {
  return typeof value === "string" ? value.slice(0, LONGEST_SHORT) : fallback;
}

function frequencyOr(value: unknown, fallback: number): number {
  const seconds = numberOr(value, fallback);
  return seconds > 0 && seconds <= MOST_SELDOM ? seconds : fallback;
}
