import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Address, Message } from "../../protocol/message.ts";
import type { Queue } from "../../protocol/routing.ts";
import { silentLog } from "../runtime/log.ts";
import { parseSettings, type SettingsInput } from "../settings/settings.ts";
import { ConnectionLost, ConnectionRefused, PublishError, QueueClash, TransportClosed } from "../transports/errors.ts";
import type { Consumer, Transport } from "../transports/transport.ts";
import type { BrokerState } from "./outage-watch.ts";
import { Publisher, type PublisherParts } from "./publisher.ts";

/** A broker by script: each publish takes the next step, and no step means that it is taken. */
class ScriptedTransport implements Transport {
  readonly name = "memory";
  readonly can = { confirms: true, priorities: true, nativeTopic: false, urgent: "lowest", redelivery: true } as const;
  connected = true;
  readonly declared: string[] = [];
  readonly published: { message: Message; to: Address }[] = [];
  readonly steps: (Error | "hang")[] = [];
  connects: (Error | "hang")[] = [];
  declareSteps: Error[] = [];
  attempts = 0;

  async connect(): Promise<void> {
    const step = this.connects.shift();
    if (step === "hang") return new Promise(() => undefined);
    if (step !== undefined) throw step;
  }
  async declare(queues: readonly Queue[]): Promise<void> {
    this.declared.push(...queues.map((queue) => queue.name));
    const step = this.declareSteps.shift();
    if (step !== undefined) throw step;
  }
  async publish(message: Message, to: Address, options?: { signal?: AbortSignal }): Promise<void> {
    this.attempts++;
    const step = this.steps.shift();
    if (step === "hang") {
      return new Promise((_resolve, reject) => {
        options?.signal?.addEventListener("abort", () => reject(options.signal?.reason), { once: true });
      });
    }
    if (step !== undefined) throw step;
    this.published.push({ message, to });
  }
  async consume(): Promise<Consumer> {
    throw new TransportClosed();
  }
  async purge(): Promise<number> {
    return 0;
  }
  async inspectQueue(): Promise<null> {
    return null;
  }
  async deleteQueue(): Promise<void> {}
  async flush(): Promise<void> {}
  async close(): Promise<void> {}
}

const queue: Queue = { name: "q", exchange: { name: "q", type: "direct" }, routingKey: "q" };
const target = { address: { exchange: "", routingKey: "q" }, queue };
const message: Message = {
  body: new TextEncoder().encode("hello ".repeat(50)),
  headers: { task: "t" },
  properties: {},
};
const lost = () => new ConnectionLost("gone");

let transport: ScriptedTransport;
const publisherOf = (code: SettingsInput = {}, broker?: BrokerState, more: Partial<PublisherParts> = {}) =>
  new Publisher({
    transport,
    settings: parseSettings({ code, env: {} }).settings,
    log: silentLog,
    ...(broker === undefined ? {} : { broker }),
    ...more,
  });

beforeEach(() => {
  transport = new ScriptedTransport();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("declaring", () => {
  test("happens once for a queue, before its first message, however many wait for it", async () => {
    const publisher = publisherOf();
    await Promise.all([1, 2, 3].map(() => publisher.publish(message, target)));
    await publisher.publish(message, target);
    expect(transport.declared).toEqual(["q"]);
    expect(transport.published).toHaveLength(4);
  });

  test("of which many messages wait makes Node suspect no leak", async () => {
    const warnings: string[] = [];
    const onWarning = ({ name }: Error) => void warnings.push(name);
    process.on("warning", onWarning);
    const publisher = publisherOf();
    await Promise.all(Array.from({ length: 50 }, () => publisher.publish(message, target)));
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test("happens each time for a queue that may have gone meanwhile", async () => {
    const publisher = publisherOf();
    for (const brief of [{ autoDelete: true }, { arguments: { "x-expires": 1000 } }]) {
      transport.declared.length = 0;
      for (let i = 0; i < 2; i++) await publisher.publish(message, { ...target, queue: { ...queue, ...brief } });
      expect(transport.declared).toEqual(["q", "q"]);
    }
  });

  test("does not happen for an exchange alone, nor with lovage_declare never", async () => {
    await publisherOf().publish(message, { address: { exchange: "x", routingKey: "k" }, queue: null });
    await publisherOf({ lovage_declare: "never" }).publish(message, target);
    expect(transport.declared).toEqual([]);
  });

  test("that clashes fails the call at once and is tried again by the next one", async () => {
    transport.declareSteps.push(new QueueClash("q", {}, {}));
    const publisher = publisherOf();
    await expect(publisher.publish(message, target)).rejects.toThrow(QueueClash);
    expect(transport.attempts).toBe(0);
    await publisher.publish(message, target);
    expect(transport.declared).toEqual(["q", "q"]);
  });

  test("is repeated when the queue has been deleted since", async () => {
    const publisher = publisherOf();
    const unroutable = () => new PublishError("none", target.address, { code: "UNROUTABLE" });
    transport.steps.push(unroutable());
    await publisher.publish(message, target);
    expect(transport.declared).toEqual(["q", "q"]);
    expect(transport.published).toHaveLength(1);
    transport.steps.push(unroutable(), unroutable());
    await expect(publisher.publish(message, target)).rejects.toMatchObject({ code: "UNROUTABLE" });
  });
});

describe("retrying", () => {
  test("makes Celery's three further attempts, then gives the error", async () => {
    const policy = { interval_step: 0 };
    transport.steps.push(lost(), lost(), lost());
    await publisherOf({ task_publish_retry_policy: policy }).publish(message, target);
    expect(transport.attempts).toBe(4);
    transport.steps.push(lost(), lost(), lost(), lost());
    await expect(publisherOf({ task_publish_retry_policy: policy }).publish(message, target)).rejects.toThrow(
      ConnectionLost,
    );
    expect(transport.attempts).toBe(8);
  });

  test("waits 0, 0.2, 0.4 … seconds, at most interval_max", async () => {
    vi.useFakeTimers();
    for (let i = 0; i < 8; i++) transport.steps.push(lost());
    const done = publisherOf().publish(message, target, { retryPolicy: { maxRetries: 8, intervalMax: 0.5 } });
    const times: number[] = [];
    let seen = 0;
    for (let ms = 0; ms <= 3500; ms += 100) {
      await vi.advanceTimersByTimeAsync(ms === 0 ? 0 : 100);
      for (; seen < transport.attempts; seen++) times.push(ms);
    }
    await done;
    expect(times).toEqual([0, 0, 200, 600, 1100, 1600, 2100, 2600, 3100]);
  });

  test("is left out with retry false, and for errors that a retry does not mend", async () => {
    transport.steps.push(lost());
    await expect(publisherOf().publish(message, target, { retry: false })).rejects.toThrow(ConnectionLost);
    transport.steps.push(lost());
    await expect(publisherOf({ task_publish_retry: false }).publish(message, target)).rejects.toThrow(ConnectionLost);
    transport.steps.push(new PublishError("too large", target.address, { code: "MESSAGE_TOO_LARGE" }));
    await expect(publisherOf().publish(message, target)).rejects.toThrow("too large");
    expect(transport.attempts).toBe(3);
  });

  test("goes on for ever with max_retries null, until the caller's signal", async () => {
    for (let i = 0; i < 50; i++) transport.steps.push(lost());
    const retryPolicy = { maxRetries: null, intervalStep: 0 };
    await publisherOf().publish(message, target, { retryPolicy });
    expect(transport.attempts).toBe(51);
    transport.steps.push("hang");
    const stop = new AbortController();
    const waiting = publisherOf().publish(message, target, { retryPolicy, signal: stop.signal });
    stop.abort(new TypeError("enough"));
    await expect(waiting).rejects.toThrow("enough");
  });
});

describe("a broker that is away", () => {
  test("fails each attempt after broker_connection_timeout, and the call after the last one", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearTimeout", "clearInterval", "performance"] });
    transport.connected = false;
    for (let i = 0; i < 4; i++) transport.steps.push("hang");
    const started = performance.now();
    const failed = publisherOf()
      .publish(message, target)
      .then(
        () => expect.fail("was published"),
        (error: unknown) => ({ error, afterMs: performance.now() - started }),
      );
    await vi.advanceTimersByTimeAsync(30_000);
    const { error, afterMs } = await failed;
    expect(error).toBeInstanceOf(ConnectionLost);
    expect(String(error)).toMatch(/no connection to the broker within 1[67](\.\d)? s, in 4 attempts/);
    expect(transport.attempts).toBe(4);
    expect(afterMs).toBeGreaterThan(16_000);
    expect(afterMs).toBeLessThan(18_000);
  });

  test("is waited for when connecting too", async () => {
    transport.connected = false;
    transport.connects = ["hang"];
    const publisher = publisherOf({ broker_connection_timeout: 0.02, task_publish_retry: false });
    await expect(publisher.publish(message, target)).rejects.toThrow(/within 0\.0\d+ s/);
  });

  test("is named in the error, without credentials, with the time that passed and the last reason", async () => {
    transport.connected = false;
    transport.steps.push("hang", "hang");
    const broker = { url: "redis://:**@far:6379/0", lastError: new ConnectionLost("connect ECONNREFUSED") };
    const code = {
      broker_connection_timeout: 0.02,
      task_publish_retry_policy: { max_retries: 1, interval_start: 0.05 },
    };
    const publisher = publisherOf(code, broker);
    const error: unknown = await publisher.publish(message, target).catch((thrown: unknown) => thrown);
    expect(String(error)).toMatch(
      /^ConnectionLost: no connection to redis:\/\/:\*\*@far:6379\/0 within 0\.\d+ s, in 2 attempts: connect ECONNREFUSED$/,
    );
    expect(Number(/within (\S+) s/.exec(String(error))?.[1])).toBeGreaterThanOrEqual(0.09);
    expect(error).toMatchObject({ cause: broker.lastError, retryable: true });
  });

  test("that refuses us for good is an error at once", async () => {
    transport.connects = [new ConnectionRefused("wrong password")];
    await expect(publisherOf().publish(message, target)).rejects.toThrow(ConnectionRefused);
    await publisherOf().publish(message, target);
  });

  test("and comes back in time loses nothing", async () => {
    transport.connected = false;
    transport.steps.push("hang");
    await publisherOf({ broker_connection_timeout: 0.03 }).publish(message, target);
    expect(transport.attempts).toBe(2);
    expect(transport.published).toHaveLength(1);
  });

  test("is waited for no longer once the client is closed", async () => {
    transport.connected = false;
    transport.steps.push("hang");
    const publisher = publisherOf();
    const waiting = publisher.publish(message, target);
    await vi.waitFor(() => expect(transport.attempts).toBe(1));
    publisher.close();
    publisher.close();
    await expect(waiting).rejects.toThrow(TransportClosed);
    await expect(publisher.publish(message, target)).rejects.toThrow(TransportClosed);
  });
});

test("compression is named in a header of its own, and the caller's message stays as it was", async () => {
  await publisherOf({ task_compression: "gzip" }).publish(message, target);
  await publisherOf({ task_compression: "gzip" }).publish(message, target, { compression: "brotli" });
  const [first, second] = transport.published;
  expect(first?.message.headers).toEqual({ task: "t", compression: "application/x-gzip" });
  expect(second?.message.headers?.compression).toBe("application/x-brotli");
  expect(first?.message.body.length).toBeLessThan(message.body.length);
  expect(message.headers).toEqual({ task: "t" });
});

describe("many messages that go one way", () => {
  const numbered = (count: number): Message[] =>
    Array.from({ length: count }, (_, n) => ({ ...message, body: new TextEncoder().encode(`${n}`) }));
  const bodies = () => transport.published.map(({ message: { body } }) => new TextDecoder().decode(body));

  test("are sent in their order", async () => {
    await publisherOf().publishAll(numbered(5), target);
    expect(bodies()).toEqual(["0", "1", "2", "3", "4"]);
    expect(transport.declared).toEqual(["q"]);
  });

  test("those that were not taken, and only those, are sent again", async () => {
    transport.steps.push(...numbered(3).map(() => lost()));
    await publisherOf({ task_publish_retry_policy: { interval_start: 0, interval_step: 0 } }).publishAll(
      numbered(5),
      target,
    );
    expect(bodies()).toEqual(["3", "4", "0", "1", "2"]);
    expect(transport.attempts).toBe(8);
  });

  test("are told of as sent one by one, each once, and not those that were not", async () => {
    const told: string[] = [];
    const onSent = ({ body }: Message) => told.push(new TextDecoder().decode(body));
    transport.steps.push(...numbered(2).map(() => lost()));
    const quick = { task_publish_retry_policy: { interval_start: 0, interval_step: 0 } };
    await publisherOf(quick, undefined, { onSent }).publishAll(numbered(4), target);
    expect(told.sort()).toEqual(["0", "1", "2", "3"]);
    told.length = 0;
    transport.steps.push(new PublishError("too large", target.address, { code: "MESSAGE_TOO_LARGE" }));
    await expect(publisherOf({}, undefined, { onSent }).publishAll(numbered(2), target)).rejects.toThrow("too large");
    expect(told).toEqual(["1"]);
  });

  test("one that is refused for good fails them", async () => {
    const refused = new PublishError("too large", target.address, { code: "MESSAGE_TOO_LARGE" });
    transport.steps.push(lost(), refused);
    await expect(publisherOf().publishAll(numbered(5), target)).rejects.toBe(refused);
    expect(bodies()).toEqual(["2", "3", "4"]);
  });

  test("a queue that has gone is made again, once", async () => {
    const nobody = () => new PublishError("nobody", target.address, { code: "UNROUTABLE" });
    transport.steps.push(nobody(), nobody());
    await publisherOf().publishAll(numbered(2), target);
    expect(transport.declared).toEqual(["q", "q"]);
    expect(bodies()).toEqual(["0", "1"]);
    transport.steps.push(nobody(), nobody(), nobody(), nobody());
    await expect(publisherOf().publishAll(numbered(2), target)).rejects.toMatchObject({ code: "UNROUTABLE" });
  });

  test("are compressed one by one", async () => {
    await publisherOf({ task_compression: "gzip" }).publishAll([message, message], target);
    expect(transport.published.map(({ message: { headers } }) => headers?.compression)).toEqual([
      "application/x-gzip",
      "application/x-gzip",
    ]);
  });
});
