/** A certificate file that goes between the making of a store and its first use, without a Redis: nobody waits, nothing escapes. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { newMognetResult } from "../../protocol/mognet/result.ts";
import { createRedisMognetStore } from "./mognet/redis-store.ts";
import { createRedisBackend } from "./redis.ts";
import { contractCodec } from "./result-backend.contract.ts";

const connection = vi.hoisted(() => ({ isLoaded: false }));
vi.mock(import("../runtime/redis-connection.ts"), async (original) => {
  const real = await original();
  await real.loadRedis();
  const loadRedis = async () => {
    connection.isLoaded = true;
  };
  return { ...real, isRedisLoaded: () => connection.isLoaded, loadRedis };
});

const id = "8d3ff0c2-3c5d-4f6e-9a0b-0123456789ab";
let folder = "";
let urls = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-"));
  await writeFile(join(folder, "ca.pem"), "");
  urls = `rediss://127.0.0.1:1/0?ssl_ca_certs=${encodeURIComponent(join(folder, "ca.pem"))}`;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const refused = { message: expect.stringMatching(/ssl_ca_certs: the file .* cannot be read/), retryable: false };

describe.each([false, true])("when the client library was loaded before: %s", (isLoaded) => {
  beforeEach(() => {
    connection.isLoaded = isLoaded;
  });

  test("stores, reads and waits of Celery's results are refused", async () => {
    const backend = createRedisBackend({ codec: contractCodec("tls-"), urls });
    await rm(folder, { recursive: true });
    const record = { status: "SUCCESS" };
    const acts = [backend.store(id, record), backend.get(id), backend.watch(id, {}), backend.connection()];
    await Promise.all(acts.map((act) => expect(act).rejects.toMatchObject(refused)));
    expect([backend.pending, backend.waiting, backend.subscribed]).toEqual([0, 0, 0]);
    await backend.close();
  });

  test("writes, reads and waits of Mognet's results are refused", async () => {
    const store = createRedisMognetStore({ app: "tls", urls });
    await rm(folder, { recursive: true });
    const result = newMognetResult({ id, name: "shop.pay", created: "2026-01-01T00:00:00" });
    for (const act of [() => store.create({ result }), () => store.get(id), () => store.waitFor(id)]) {
      await expect(act()).rejects.toMatchObject(refused);
    }
    await store.close();
  });
});

test.each([
  ["Celery's", () => createRedisBackend({ codec: contractCodec("tls-"), urls: "rediss://h?ssl_nonsense=1" })],
  ["Mognet's", () => createRedisMognetStore({ app: "tls", urls: "rediss://h?ssl_nonsense=1" })],
])("an unknown TLS option is refused when the store of %s results is made", (_whose, make) => {
  expect(make).toThrow(ImproperlyConfigured);
});
