/** Nothing was left behind: no message waits, and none is held by a consumer. */
import type { Transport } from "../transports/transport.ts";
import { NotDrained, WaitTimeout } from "./errors.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { type RabbitmqApi, rabbitmqApi } from "./rabbitmq-api.ts";
import { waitFor } from "./wait.ts";

/** What can be asked about queues: a connected transport (sees ready messages only), RabbitMQ's API, or a Redis URL. */
export type DrainTarget = Transport | { api: RabbitmqApi | string; vhost?: string } | string;

/** For `assertDrained()`. */
export interface DrainOptions {
  /** Milliseconds that the queues may take. @default 30_000 */
  timeout?: number;
  /** Redis only: the prefix of Kombu's `global_keyprefix`. @default "" */
  keyPrefix?: string;
}

const drainOptions: NamesOf<DrainOptions> = {
  timeout: true,
  keyPrefix: true,
};

interface Left {
  queue: string;
  ready: number;
  unacked: number;
}

/**
 * Resolves when every queue is empty and nothing in them is unacknowledged, else throws `NotDrained` with the counts. A queue that
 * does not exist holds nothing. On Redis,
 * where unacknowledged messages of all queues stand in one hash, that hash has to be empty.
 */
export async function assertDrained(
  target: DrainTarget,
  queues: readonly string[],
  options: DrainOptions = {},
): Promise<void> {
  knownOptions(options, drainOptions, "assertDrained()");
  const { timeout, keyPrefix = "" } = options;
  await using look = await openLook(target, queues, keyPrefix);
  let left: Left[] = [];
  let empty = 0;
  try {
    await waitFor(
      async () => {
        left = (await look.left()).filter(({ ready, unacked }) => ready !== 0 || unacked !== 0);
        empty = left.length === 0 ? empty + 1 : 0;
        return empty >= look.looks;
      },
      { describe: "queues to be empty", interval: look.interval, ...(timeout === undefined ? {} : { timeout }) },
    );
  } catch (error) {
    if (!(error instanceof WaitTimeout) || left.length === 0) throw error;
    const counts = left.map(({ queue, ready, unacked }) => `${queue}: ${ready} ready, ${unacked} unacked`).join("; ");
    throw new NotDrained(`not drained: ${counts}`, { cause: error });
  }
}

interface Look extends AsyncDisposable {
  left(): Promise<Left[]>;
  /** How many looks in a row must find nothing. */
  looks: number;
  interval: number;
}

async function openLook(target: DrainTarget, queues: readonly string[], keyPrefix: string): Promise<Look> {
  if (typeof target === "string") return lookIntoRedis(target, queues, keyPrefix);
  if ("api" in target) return lookIntoRabbitmq(target, queues);
  return {
    looks: 1,
    interval: 20,
    async left() {
      const all = await Promise.all(queues.map((queue) => target.inspectQueue(queue)));
      return all.map((counts, index) => ({
        queue: queues[index] as string,
        ready: counts?.messages ?? 0,
        unacked: 0,
      }));
    },
    async [Symbol.asyncDispose]() {},
  };
}

function lookIntoRabbitmq(target: { api: RabbitmqApi | string; vhost?: string }, queues: readonly string[]): Look {
  const api = typeof target.api === "string" ? rabbitmqApi(target.api) : target.api;
  return {
    // Counters are those of the last statistics interval: only a second look, later than that, proves anything.
    looks: 3,
    interval: 150,
    async left() {
      return (await api.queues(target.vhost))
        .filter(({ name }) => queues.includes(name))
        .map(({ name, ready, unacked }) => ({ queue: name, ready, unacked }));
    },
    async [Symbol.asyncDispose]() {},
  };
}

async function lookIntoRedis(url: string, queues: readonly string[], keyPrefix: string): Promise<Look> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url, { maxRetriesPerRequest: 2 });
  // A lost connection shows as the rejected command that needed it.
  client.on("error", () => undefined);
  // wire: kombu/transport/redis.py: a queue is one list for each priority step, `name`, `name\x06\x163`, ...
  const lists = (queue: string) => ["", "\x06\x163", "\x06\x166", "\x06\x169"].map((step) => keyPrefix + queue + step);
  return {
    looks: 1,
    interval: 20,
    async left() {
      const unacked = await client.hlen(`${keyPrefix}unacked`);
      const ready = await Promise.all(
        queues.map(async (queue) =>
          (await Promise.all(lists(queue).map((key) => client.llen(key)))).reduce((a, b) => a + b),
        ),
      );
      return [
        ...queues.map((queue, index) => ({ queue, ready: ready[index] ?? 0, unacked: 0 })),
        { queue: "(all queues)", ready: 0, unacked },
      ];
    },
    async [Symbol.asyncDispose]() {
      client.disconnect();
    },
  };
}
