/** A value that is longer than this Redis takes, among others: it is refused, and it alone. */
import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newMognetResult, startedResult } from "../../protocol/mognet/result.ts";
import { mognetValueOf } from "../../protocol/mognet/value.ts";
import { findProgram } from "../testing/find-program.ts";
import { type RedisServer, startRedis } from "../testing/redis-server.ts";
import { createRedisMognetStore } from "./mognet/redis-store.ts";
import { createRedisBackend } from "./redis.ts";
import { contractCodec } from "./result-backend.contract.ts";

const hasServer = findProgram("redis-server") !== undefined;
if (!hasServer && process.env.CI === "true") throw new TypeError("redis-server is not installed");

describe.runIf(hasServer)("a value that is longer than Redis takes", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({ args: ["--proto-max-bulk-len", "1mb"] });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const LONG = randomBytes(1_500_000).toString("base64");
  const settled = async (writes: readonly Promise<unknown>[]) =>
    (await Promise.allSettled(writes)).map(({ status }, at) => (status === "rejected" ? at : "written"));
  const only = (refused: number) => Array.from({ length: 9 }, (_, at) => (at === refused ? at : "written"));

  test("is refused by Celery's result backend, and its neighbours are stored", async () => {
    const backend = createRedisBackend({ codec: contractCodec(), urls: server.url });
    try {
      const writes = Array.from({ length: 9 }, (_, at) =>
        backend.store(randomUUID(), { status: "SUCCESS", value: at === 4 ? LONG : "x" }),
      );
      expect(await settled(writes)).toEqual(only(4));
    } finally {
      await backend.close();
    }
  });

  test("is refused by Mognet's store, and its neighbours are stored", async () => {
    const store = createRedisMognetStore({ app: "long", urls: server.url, resultValueEncoding: null });
    try {
      const time = "2026-11-21T09:07:38.679014Z";
      const writes = Array.from({ length: 9 }, (_, at) => {
        const result = startedResult(newMognetResult({ id: randomUUID(), name: "x" }), "node", time);
        return store.put({ result, value: mognetValueOf(at === 4 ? LONG : "x") });
      });
      expect(await settled(writes)).toEqual(only(4));
    } finally {
      await store.close();
    }
  });
});
