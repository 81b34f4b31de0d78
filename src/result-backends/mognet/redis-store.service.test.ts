import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  connectRedis,
  endRedis,
  loadRedis,
  parseRedisUrl,
  type Redis,
  whenReady,
} from "../../runtime/redis-connection.ts";
import { testMognetStore } from "./mognet-store.contract.ts";
import { createRedisMognetStore } from "./redis-store.ts";

const url = process.env.LOVAGE_TEST_REDIS_URL;
if (url === undefined && process.env.CI === "true") throw new TypeError("LOVAGE_TEST_REDIS_URL is needed here");

describe.skipIf(url === undefined)("Mognet's results in Redis", () => {
  const urls = url ?? "";
  let redis: Redis;
  beforeAll(async () => {
    await loadRedis();
    redis = connectRedis(parseRedisUrl(urls), { purpose: "test" });
    await whenReady(redis);
  });
  afterAll(() => endRedis(redis));

  testMognetStore("Redis", {
    async open() {
      const app = `t-${randomUUID()}`;
      return { store: createRedisMognetStore({ app, urls }), other: createRedisMognetStore({ app, urls }) };
    },
  });

  test("x", () => expect(1).toBe(1));
});
