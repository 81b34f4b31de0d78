/** Whatever a body returns or throws, its request is settled by it, and the worker goes on. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { utf8Decode, utf8Encode } from "../../../protocol/bytes.ts";
import { encodeMognetRequest } from "../../../protocol/mognet/message.ts";
import { Mognet } from "../../app/mognet.ts";
import { Worker } from "../../app/worker.ts";
import { silentLog } from "../../runtime/log.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { mognetContext } from "../../tasks/mognet-context.ts";
import { messageOf } from "../../tasks/mognet-publication.ts";
import { Request } from "../../tasks/mognet-request.ts";
import type { AnySchema } from "../../tasks/standard-schema.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const LIMITS = { timeout: 5_000 };
const ok = task("ok", () => "ok");

async function serve(...tasks: AnyTask[]): Promise<{ app: Mognet; worker: Worker }> {
  const memory = { redis: { url: "memory://" } };
  const app = new Mognet(`app-${randomUUID()}`, {
    log: silentLog,
    env: {},
    tasks: [ok, ...tasks],
    config: { broker: { amqp: { url: "memory://" } }, result_backend: memory, state_backend: memory },
  });
  ends.push(() => app.close());
  return { app, worker: await new Worker(app).start() };
}

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function unreadableError(): Error {
  return Object.defineProperty(new Error("x"), "message", {
    get() {
      throw new RangeError("no message");
    },
  });
}

const boom = (): never => {
  throw new RangeError("boom");
};

describe("a body that returns what throws when it is looked at", () => {
  const values: [string, () => unknown, RegExp][] = [
    ["a toJSON that throws", () => ({ toJSON: boom }), /boom/],
    ["a getter that throws", () => Object.defineProperty({}, "a", { enumerable: true, get: boom }), /boom/],
    ["a then that throws when it is read", () => Object.defineProperty({}, "then", { get: boom }), /boom/],
    ["a revoked proxy", revokedProxy, /proxy/],
    ["a toJSON that gives itself", selfGiving, /./],
  ];

  function selfGiving(): object {
    const value = { toJSON: (): unknown => value };
    return value;
  }

  test.each(values)("fails with that error: %s", async (_what, make, words) => {
    const now = task("now", make);
    const later = task("later", async () => {
      await Promise.resolve();
      return make();
    });
    const { app, worker } = await serve(now, later);
    for (const name of ["now", "later"]) {
      const result = await app.submit(name);
      await expect(result.get(LIMITS)).rejects.toThrow(words);
      expect(result.record).toMatchObject({ state: "FAILURE", numberOfStarts: 1, numberOfStops: 1 });
    }
    expect(await app.run("ok", [], {}, LIMITS)).toBe("ok");
    expect(worker.active).toBe(0);
  });
});

describe("a body that throws what cannot be read", () => {
  const thrown: [string, () => unknown][] = [
    ["a revoked proxy", revokedProxy],
    ["an object without a text", () => Object.create(null)],
    ["an error whose message throws", unreadableError],
    ["a message that is no text", () => Object.assign(new Error("x"), { message: { a: 1 } })],
    ["half a surrogate pair", () => new Error("\ud800")],
    ["a symbol", () => Symbol("s")],
  ];

  test.each(thrown)("fails all the same: %s", async (_what, make) => {
    const now = task("now", () => {
      throw make();
    });
    const later = task("later", async () => {
      await Promise.resolve();
      throw make();
    });
    const { app, worker } = await serve(now, later);
    for (const name of ["now", "later"]) {
      const result = await app.submit(name);
      await expect(result.get(LIMITS)).rejects.toThrow(Error);
      expect(result.record).toMatchObject({ state: "FAILURE", numberOfStarts: 1, numberOfStops: 1 });
    }
    expect(await app.run("ok", [], {}, LIMITS)).toBe("ok");
    expect(worker.active).toBe(0);
  });
});

test("a schema that throws instead of complaining fails its task with what it has thrown", async () => {
  const schema = { "~standard": { version: 1, vendor: "test", validate: boom } } satisfies AnySchema;
  const checked = task("checked", { params: { a: schema } }, () => 1);
  const { app } = await serve(checked);
  const result = await app.submit("checked", { a: 1 });
  await expect(result.get(LIMITS)).rejects.toThrow("boom");
  expect(result.record).toMatchObject({ state: "FAILURE", numberOfStarts: 1 });
});

test("a body that has kept the event loop busy past its deadline is REVOKED, whatever it gives", async () => {
  const busy = (ms: number) => {
    const until = Date.now() + ms;
    while (Date.now() < until) Math.random();
  };
  const returns = task("returns", () => busy(60));
  const throws = task("throws", async () => {
    busy(60);
    throw new Error("late");
  });
  const pauses = task("pauses", (): never => {
    busy(60);
    return mognetContext().pause();
  });
  const { app } = await serve(returns, throws, pauses);
  for (const name of ["returns", "throws", "pauses"]) {
    const result = await app.submit(name, [], { deadline: 0.03 });
    await expect(result.get(LIMITS)).rejects.toMatchObject({ reason: "expired" });
    expect(result.record).toMatchObject({ state: "REVOKED", numberOfStarts: 1, numberOfStops: 1 });
  }
});

test("a message with reply_to in its envelope, which Mognet refuses, ends the result that it names as INVALID", async () => {
  const { app, worker } = await serve();
  await app.connect();
  const { store, transport } = app.client;
  const request = new Request({ name: "ok" });
  await store.getOrCreate(request.id);
  const message = messageOf(encodeMognetRequest(request));
  const body = utf8Encode(utf8Decode(message.body).replace("{", '{"reply_to":"x",'));
  const to = { exchange: app.queues.direct.name, routingKey: app.queues.task("tasks").name };
  await transport.publish({ ...message, body, properties: {} }, to);
  const result = await app.getResult(request.id);
  await expect(result?.get(LIMITS)).rejects.toThrow("reply_to");
  expect(result?.state).toBe("INVALID");
  await expect.poll(() => worker.active).toBe(0);
});
