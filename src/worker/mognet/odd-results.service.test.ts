/** What stands in Redis under the keys of a request's result, and is not as Mognet writes it, holds up neither the worker nor its queue. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Mognet } from "../../app/mognet.ts";
import { Worker } from "../../app/worker.ts";
import { silentLog } from "../../runtime/log.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { Request } from "../../tasks/mognet-request.ts";

const url = process.env.LOVAGE_TEST_REDIS_URL;
const LIMITS = { timeout: 15_000 };
const ok = task("ok", () => "ok");

describe.runIf(url !== undefined)("a request", () => {
  const ends: (() => Promise<void>)[] = [];
  let redis: Redis;
  beforeAll(() => {
    redis = new Redis(url ?? "");
  });
  afterAll(() => redis.disconnect());
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  function appOf(...tasks: AnyTask[]): Mognet {
    const store = { redis: { url: url ?? "" } };
    const app = new Mognet(`odd-${randomUUID()}`, {
      log: silentLog,
      env: {},
      tasks: [ok, ...tasks],
      config: {
        minimum_concurrency: 1,
        broker: { amqp: { url: "memory://" } },
        result_backend: { redis: { ...store.redis, result_ttl: 600, result_value_ttl: 600 } },
        state_backend: store,
      },
    });
    ends.push(() => app.close());
    return app;
  }

  /** Other requests are served beside it, with one place. */
  async function serves(app: Mognet): Promise<void> {
    expect(await app.run("ok", [], {}, LIMITS)).toBe("ok");
  }

  test.each([
    ["counters", { number_of_starts: "1.0", number_of_stops: "1" }, "2/2"],
    ["a counter", { number_of_starts: "true", number_of_stops: "1" }, "2/2"],
    ["a counter", { number_of_starts: '" 0"' }, "1/1"],
    ["a counter", { number_of_starts: "0.0" }, "1/1"],
    ["the state", { state: ' "PENDING"' }, "1/1"],
    ["the state", { state: '"PEND\\u0049NG"' }, "1/1"],
  ])("whose result spells %s otherwise than Mognet does runs: %j", async (_what, fields, counted) => {
    const app = appOf();
    const result = await app.submit("ok");
    await redis.hset(app.names.resultKey(result.id), fields);
    await new Worker(app).start();
    expect(await result.get(LIMITS)).toBe("ok");
    expect(`${result.numberOfStarts}/${result.numberOfStops}`).toBe(counted);
    await serves(app);
  });

  test("that is refused is refused whatever the spelling of its result", async () => {
    const app = appOf();
    const result = await app.submit("unknown");
    await redis.hset(app.names.resultKey(result.id), { number_of_starts: "1.0", number_of_stops: "1" });
    await new Worker(app).start();
    await expect(result.get(LIMITS)).rejects.toThrow("Unknown task");
    expect(result.state).toBe("INVALID");
  });

  test("under whose key lies something else fails, and says so where it lay", async () => {
    const app = appOf();
    const result = await app.submit("ok");
    const key = app.names.resultKey(result.id);
    await redis.multi().del(key).set(key, "x").exec();
    await new Worker(app).start();
    await serves(app);
    await expect.poll(() => redis.type(key)).toBe("hash");
    await expect(result.get(LIMITS)).rejects.toThrow("of another type");
    expect(result.state).toBe("FAILURE");
    await expect.poll(() => redis.ttl(key)).toBeGreaterThan(0);
  });

  test("under whose value's key lies something else ends as its body did", async () => {
    const app = appOf();
    const result = await app.submit("ok");
    await redis.set(app.names.valueKey(result.id), "x");
    await new Worker(app).start();
    expect(await result.get(LIMITS)).toBe("ok");
    await serves(app);
  });

  test.each([
    ["is of another type", (key: string) => redis.set(key, "x")],
    ["cannot be read", (key: string) => redis.hset(key, { id: `"${key.slice(-36)}"`, state: '"WAT"' })],
  ])("with an ancestor whose result %s fails", async (_what, spoil) => {
    const app = appOf();
    const ancestor = randomUUID();
    await spoil(app.names.resultKey(ancestor));
    const request = new Request({ name: "ok" });
    const result = await app.client.submitter.submit(request, { id: ancestor, stack: [] });
    const worker = await new Worker(app).start();
    await serves(app);
    await expect(result.get(LIMITS)).rejects.toThrow(/type|WAT/);
    expect(result.state).toBe("FAILURE");
    await expect.poll(() => worker.active).toBe(0);
    await redis.del(app.names.resultKey(ancestor));
  });
});
