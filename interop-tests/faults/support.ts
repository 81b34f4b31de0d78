/**
 * What the fault tests share: a place to run in (broker, result store, ledger), workers in processes of their own, a client, and
 * the accounting: every run of a task leaves lines in a file that outlives whoever wrote them.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { expect } from "vitest";
import { Celery } from "../../src/app.ts";
import { silentLog } from "../../src/runtime/log.ts";
import type { SettingsInput } from "../../src/settings/settings.ts";
import type { ApplyAsyncOptions } from "../../src/tasks/call-options.ts";
import {
  assertDrained,
  endsWithin,
  HarnessError,
  type PeerProcess,
  type PythonWorker,
  type RedisServer,
  startNodeWorker,
  startPythonWorker,
  startRedis,
  type TempFolder,
  tempFolder,
  tempVhost,
  testService,
  waitFor,
} from "../../src/testing/index.ts";
import { createAmqpTransport } from "../../src/transports/amqp.ts";

export const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

const amqpUrl = testService("LOVAGE_TEST_AMQP_URL");
const apiUrl = testService("LOVAGE_TEST_RABBITMQ_API");

/** The brokers that this machine has for the tests. */
export const kinds = (["amqp", "redis"] as const).filter((kind) => kind === "redis" || amqpUrl !== undefined);
export type Kind = (typeof kinds)[number];

/**
 * Redis gives messages of a dead consumer back after this; in the tests soon. Seconds, in Kombu's names. Those of a living Celery
 * worker come again as well when it has not done with them by then, which a busy machine must leave it the time for.
 */
export const hastyRedis = { visibility_timeout: 6, unacked_restore_interval: 1, unacked_restore_throttle: 1 };

/** One run of a task, or its start, as its worker noted it. */
export interface Run {
  key: string;
  lang: string;
  pid: number;
  attempt: number;
  phase: "start" | "end";
}

export class Ledger {
  readonly path: string;
  constructor(folder: string) {
    this.path = join(folder, "ledger");
    writeFileSync(this.path, "");
  }

  read(phase?: Run["phase"]): Run[] {
    const lines = readFileSync(this.path, "utf8").split("\n").slice(0, -1);
    const runs = lines.map((line): Run => {
      const [key = "", lang = "", pid, attempt, said] = line.split(" ");
      return { key, lang, pid: Number(pid), attempt: Number(attempt), phase: said === "start" ? "start" : "end" };
    });
    return phase === undefined ? runs : runs.filter((run) => run.phase === phase);
  }

  keys(phase: Run["phase"], pid?: number): string[] {
    return this.read(phase)
      .filter((run) => pid === undefined || run.pid === pid)
      .map((run) => run.key);
  }

  /** Resolves when so many runs have started, or ended. */
  async reach(phase: Run["phase"], count: number, timeout = 60_000): Promise<void> {
    await waitFor(() => this.keys(phase).length >= count, {
      timeout,
      interval: 30,
      describe: `${count} runs to ${phase}`,
    });
  }
}

export interface Site extends AsyncDisposable {
  readonly kind: Kind;
  readonly folder: TempFolder;
  readonly ledger: Ledger;
  /** Urls and what else everybody here has in common. */
  readonly settings: SettingsInput;
  readonly broker: string;
  readonly backend: string;
  readonly redis: RedisServer;
  /** How many messages lie in the queue and are held by no consumer. */
  ready(queue: string): Promise<number>;
  /** Resolves when no message lies in the queue, and nobody holds one. */
  idle(queue: string): Promise<void>;
  /** Resolves when so many messages lie in the queue, and on Redis so many are marked as taken (AMQP does both in one step). */
  reach(queue: string, ready: number, taken: number, timeout?: number): Promise<void>;
  /**
   * Stops the workers warm once nothing waits for them, which may be copies of what has its result long since, and asserts that they
   * left nothing in the queues and hold nothing.
   */
  endDrained(workers: readonly PeerProcess[], ...queues: string[]): Promise<void>;
}

/**
 * Opens a place with a broker of that kind: a virtual host, or a Redis of its own. Results are kept in the same Redis. `hasty: false`
 * is for Celery workers that hold messages for long, as with an ETA: on a hasty Redis they come again.
 */
export async function openSite(kind: Kind, options: { persist?: boolean; hasty?: boolean } = {}): Promise<Site> {
  const { persist = true, hasty = true } = options;
  const redis = await startRedis({ persist });
  const vhost = kind === "amqp" ? await tempVhost(apiUrl as string, amqpUrl as string) : null;
  const parts = { kind, redis, broker: vhost?.url ?? redis.database(0), hasty, vhost: vhost?.name ?? "/" };
  return makeSite(parts, async () => vhost?.[Symbol.asyncDispose]());
}

interface SiteParts {
  kind: Kind;
  redis: RedisServer;
  broker: string;
  /** @default true */
  hasty?: boolean;
  /** RabbitMQ's management. @default that of the run */
  api?: string;
  vhost?: string;
}

/** A place made of servers that the test started itself. Disposal ends `redis` too. */
export async function makeSite(parts: SiteParts, onDispose?: () => Promise<void>): Promise<Site> {
  const { kind, redis, broker, hasty = true, api = apiUrl as string, vhost = "/" } = parts;
  const folder = await tempFolder("faults");
  const backend = redis.database(1);
  const looking = new Redis(kind === "redis" ? broker : redis.database(0), { lazyConnect: true });
  // A server that is away shows as the rejected command that needed it.
  looking.on("error", () => undefined);
  const asking = kind === "amqp" ? createAmqpTransport({ urls: [broker] }) : null;
  const site: Site = {
    kind,
    folder,
    redis,
    broker,
    backend,
    ledger: new Ledger(folder.path),
    settings: {
      broker_url: broker,
      result_backend: backend,
      ...(kind === "redis" && hasty ? { broker_transport_options: hastyRedis } : {}),
    },
    async ready(queue) {
      if (asking === null) return looking.llen(queue);
      await asking.connect();
      return (await asking.inspectQueue(queue))?.messages ?? 0;
    },
    async idle(queue) {
      if (kind === "redis") await site.reach(queue, 0, 0, 120_000);
      else await assertDrained({ api, vhost }, [queue], { timeout: 120_000 });
    },
    async reach(queue, ready, taken, timeout = 60_000) {
      const seen = async () =>
        (await site.ready(queue)) === ready && (asking !== null || (await looking.hlen("unacked")) === taken);
      await waitFor(seen, { timeout, describe: `${ready} messages in ${queue} and ${taken} taken` });
    },
    async endDrained(workers, ...queues) {
      for (const queue of queues) await site.idle(queue);
      // Children of Celery's prefork pool wait half a minute at some warm stops (`_ensure_messages_consumed` of billiard/pool.py).
      const ends = await Promise.all(workers.map((worker) => worker.stop({ grace: 50_000 })));
      expect(ends).toEqual(workers.map(() => ({ code: 0, signal: null })));
      await asking?.connect();
      for (const queue of queues) {
        if (asking === null) expect(await looking.llen(queue), queue).toBe(0);
        else {
          // RabbitMQ gives back what a consumer held in the step in which it forgets the consumer.
          const gone = await waitFor(
            async () => asking.inspectQueue(queue).then((seen) => seen?.consumers === 0 && seen),
            {
              describe: `consumers of ${queue} to go`,
            },
          );
          expect(gone.messages, queue).toBe(0);
        }
      }
      if (asking === null) expect(await looking.hgetall("unacked")).toEqual({});
    },
    async [Symbol.asyncDispose]() {
      looking.disconnect();
      await asking?.close();
      await onDispose?.();
      await redis[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
  return site;
}

/** A client in this process. */
export function clientOf(site: Site, settings: SettingsInput = {}): Celery {
  return new Celery("faults-client", { settings: { ...site.settings, ...settings }, log: silentLog, env: {} });
}

export interface WorkerChoice {
  queues: readonly string[];
  concurrency: number;
  settings?: SettingsInput;
  env?: Record<string, string>;
}

/** A TypeScript worker in a process of its own. */
export function startWorker(site: Site, choice: WorkerChoice): Promise<PeerProcess> {
  const settings = { ...site.settings, ...choice.settings };
  return startNodeWorker({
    module: fixture("app.js"),
    args: ["-Q", choice.queues.join(","), "-c", String(choice.concurrency), "-q"],
    env: { FAULT_SETTINGS: JSON.stringify(settings), FAULT_LEDGER: site.ledger.path, ...choice.env },
    ready: /"ready"|\bready\b/,
  });
}

/** A Python worker on the same queues. */
export function startPython(site: Site, choice: WorkerChoice): Promise<PythonWorker> {
  return startPythonWorker({
    queues: choice.queues,
    concurrency: choice.concurrency,
    settings: { ...site.settings, broker_connection_retry_on_startup: true, ...choice.settings },
    env: { FIXTURE_RECORD: site.ledger.path, ...choice.env },
  });
}

/** Keys for so many tasks; a key is the task's id as well. */
export function keysOf(count: number, prefix: string): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

/** No outage in these tests is longer, also where a broker is slow to start. */
const sendingMs = 90_000;

export interface SendChoice {
  task: string | ((key: string) => string);
  /** @default the key alone */
  args?: (key: string) => unknown[];
  queue: string;
  options?: ApplyAsyncOptions;
  /** Sends under way at a time. @default 100 */
  lanes?: number;
}

/** Sends one task per key, `lanes` at a time. Told of each send: `pending` holds the keys that are on their way. */
export async function sendAll(
  app: Celery,
  keys: readonly string[],
  how: SendChoice,
  pending = new Set<string>(),
  onSent?: (sent: number) => void,
): Promise<void> {
  let next = 0;
  let sent = 0;
  const lane = async () => {
    while (next < keys.length) {
      const key = keys[next++] as string;
      pending.add(key);
      const name = typeof how.task === "string" ? how.task : how.task(key);
      await app.sendTask(name, how.args?.(key) ?? [key], {}, { ...how.options, queue: how.queue, taskId: key });
      pending.delete(key);
      onSent?.(++sent);
    }
  };
  const all = Promise.all(Array.from({ length: Math.min(how.lanes ?? 100, keys.length) }, lane));
  if (await endsWithin(all, sendingMs)) return void (await all);
  const state = app.transport.connected ? "connected" : "not connected";
  throw new HarnessError("NOT_SENT", `sent ${sent} of ${keys.length} in ${sendingMs} ms, ${state}: ${[...pending]}`);
}

/** Every stored result is there and is the right one. */
export async function expectResults(
  app: Celery,
  keys: readonly string[],
  value: (key: string) => unknown = (key) => `done:${key}`,
  timeout = 60_000,
): Promise<void> {
  const wrong: string[] = [];
  await Promise.all(
    keys.map(async (key) => {
      const got = await app
        .result(key)
        .get({ timeout })
        .catch((error: unknown) => error);
      if (got !== value(key)) wrong.push(`${key}: ${String(got)}`);
    }),
  );
  expect(wrong.slice(0, 10), `${wrong.length} of ${keys.length} results are missing or wrong`).toEqual([]);
}

/** The keys that occur more than once. */
export function repeated(keys: readonly string[]): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const key of keys) {
    if (seen.has(key)) twice.add(key);
    seen.add(key);
  }
  return [...twice].sort();
}

/** `ran` has every key of `keys` and no other. */
export function expectAllRan(ran: readonly string[], keys: readonly string[]): void {
  const there = new Set(ran);
  const missing = keys.filter((key) => !there.has(key));
  expect(missing.slice(0, 10), `${missing.length} of ${keys.length} tasks never ran`).toEqual([]);
  const known = new Set(keys);
  expect(ran.filter((key) => !known.has(key))).toEqual([]);
}

export function open(gate: string): void {
  writeFileSync(gate, "");
}
