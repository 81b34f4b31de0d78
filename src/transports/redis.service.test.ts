/** The Redis transport against a real server: the contract, and what only it can do. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { describe } from "vitest";
import { createRedisTransport, type RedisTransport, type RedisTransportOptions } from "./redis.ts";
import { type TransportRig, testTransport } from "./transport.contract.ts";

const url = process.env.LOVAGE_TEST_REDIS_URL;
if (url === undefined && process.env.CI === "true") throw new TypeError("LOVAGE_TEST_REDIS_URL is not set");

/** Transports under one random key prefix, and what cleans up after them. */
function startRig(serverUrl: string, options: Partial<RedisTransportOptions> = {}): TransportRig & { prefix: string } {
  const prefix = `${randomUUID()}:`;
  const clientName = `t${randomUUID().slice(0, 8)}`;
  const made: RedisTransport[] = [];
  const make = (name: string): RedisTransport => {
    const transport = createRedisTransport({
      urls: serverUrl,
      ...options,
      transportOptions: { global_keyprefix: prefix, client_name: name, ...options.transportOptions },
    });
    made.push(transport);
    return transport;
  };
  return {
    prefix,
    transport: make(clientName),
    another: async () => make(`${clientName}-other`),
    cutConnection: async () => {
      const admin = new Redis(serverUrl);
      const list = String(await admin.client("LIST"));
      for (const line of list.split("\n")) {
        const id = /^id=(\d+)/.exec(line)?.[1];
        const name = / name=lovage:(\S*)/.exec(line)?.[1];
        if (id !== undefined && (name === clientName || name?.startsWith(`${clientName}-sub`)))
          await admin.client("KILL", "ID", id);
      }
      admin.disconnect();
    },
    dispose: async () => {
      await Promise.all(made.map((transport) => transport.close()));
      const admin = new Redis(serverUrl);
      const keys = await admin.keys(`${prefix}*`);
      if (keys.length > 0) await admin.del(...keys);
      admin.disconnect();
    },
  };
}

describe.skipIf(url === undefined)("with a Redis server", () => {
  testTransport({
    name: "redis",
    make: async () => startRig(url ?? ""),
    can: {
      clash: false,
      knowsMissingQueues: false,
      order: true,
      redeliversAfterLoss: false,
      keepsHeldDeliveries: true,
      fanout: true,
      topic: true,
    },
  });
});
