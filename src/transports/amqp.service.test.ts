/** The AMQP transport against RabbitMQ: the contract, and what only AMQP can do or suffer. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { PyDateTime, PyDecimal } from "../../protocol/values.ts";
import type { Log } from "../runtime/log.ts";
import { silentLog } from "../runtime/log.ts";
import { type AmqpOptions, createAmqpTransport } from "./amqp.ts";
import { haveRabbit, makeVhost, Proxy, rabbitApi, type Vhost } from "./amqp-rig.contract.ts";
import { PublishError, QueueClash, QueueNotFound } from "./errors.ts";
import {
  bodyText,
  consuming,
  declared,
  Inbox,
  queueOf,
  roundTrip,
  testTransport,
  text,
  toQueue,
  unique,
  until,
  within,
} from "./transport.contract.ts";
import type { Transport } from "./transport.ts";

const backoff = { initialMs: 10, maxMs: 200 };

describe.runIf(haveRabbit())("RabbitMQ", () => {
  testTransport({
    name: "amqp",
    async make() {
      const vhost = await makeVhost();
      const proxy = await Proxy.before(vhost.url);
      const made: Transport[] = [];
      const add = (url: string) => {
        const transport = createAmqpTransport({ urls: [url], backoff });
        made.push(transport);
        return transport;
      };
      return {
        transport: add(proxy.url),
        another: async () => add(vhost.url),
        async cutConnection() {
          proxy.cut();
        },
        async dispose() {
          for (const transport of made) await transport.close();
          await proxy.close();
          await vhost.remove();
        },
      };
    },
    can: { clash: true, knowsMissingQueues: true, order: true, redeliversAfterLoss: true, fanout: true, topic: true },
  });

  describe("the AMQP transport", () => {
    const ends: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const end of ends.splice(0).reverse()) await end();
    });

    async function vhost(): Promise<Vhost> {
      const made = await makeVhost();
      ends.push(() => made.remove());
      return made;
    }

    async function proxied(): Promise<{ vhost: Vhost; proxy: Proxy }> {
      const made = await vhost();
      const proxy = await Proxy.before(made.url);
      ends.push(() => proxy.close());
      return { vhost: made, proxy };
    }

    function make(url: string, options: Partial<AmqpOptions> = {}): Transport {
      const transport = createAmqpTransport({ urls: [url], backoff, ...options });
      ends.push(() => transport.close());
      return transport;
    }

    async function open(url: string, options: Partial<AmqpOptions> = {}): Promise<Transport> {
      const transport = make(url, options);
      await transport.connect();
      return transport;
    }

    test("a clash names the queue, what we ask for and what the broker has", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport, { arguments: { "x-max-priority": 5, "x-expires": 60_000 } });
      const asked = { ...queue, durable: true, arguments: { "x-expires": 60_000 } };
      const error: unknown = await transport.declare([asked]).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(QueueClash);
      expect(error).toMatchObject({
        queue: queue.name,
        ours: { durable: true, exclusive: false, autoDelete: false, arguments: { "x-expires": 60_000 } },
        theirs: "x-max-priority: the value '5' of type 'signedint'",
      });
      const other = queueOf({ exchange: { name: queue.exchange.name, type: "topic" } });
      await expect(transport.declare([other])).rejects.toThrow(
        `exchange "${queue.exchange.name}" exists with other attributes`,
      );
      await expect(transport.declare([{ ...queue, durable: false }])).rejects.toThrow(/durable: 'true'/);
      await transport.declare([queue]);
    });

    test("an exclusive queue of another connection is a clash", async () => {
      const { url } = await vhost();
      const [a, b] = [await open(url), await open(url)];
      const queue = await declared(a, { exclusive: true });
      await expect(b.declare([queue])).rejects.toMatchObject({ code: "QUEUE_CLASH", retryable: true });
    });

    test("passive mode only looks whether queues exist, never leaves them alone; a client's own are made", async () => {
      const { url } = await vhost();
      const [maker, passive, never] = [
        await open(url),
        await open(url, { declareMode: "passive" }),
        await open(url, { declareMode: "never" }),
      ];
      const missing = queueOf();
      await expect(passive.declare([missing])).rejects.toBeInstanceOf(QueueNotFound);
      await never.declare([missing]);
      expect(await maker.inspectQueue(missing.name)).toBeNull();
      for (const transport of [passive, never]) {
        const own = { ...queueOf(), own: true };
        await transport.declare([own]);
        expect(await maker.inspectQueue(own.name)).not.toBeNull();
      }
      const queue = await declared(maker, { arguments: { "x-max-priority": 5 } });
      await passive.declare([{ ...queue, arguments: {} }]);
      await passive.publish(text("x"), toQueue(queue));
      expect((await maker.inspectQueue(queue.name))?.messages).toBe(1);
    });

    test("of many on their way exactly those that no queue takes are unroutable, also with equal ids and bodies", async () => {
      const transport = await open((await vhost()).url);
      const exchange = { name: unique("direct"), type: "direct" as const };
      await transport.declare([queueOf({ exchange, routingKey: "here" })]);
      const same = { ...text("same"), properties: { messageId: "m", correlationId: "c" } };
      const outcomes = await Promise.allSettled(
        Array.from({ length: 300 }, (_, i) =>
          transport.publish(same, { exchange: exchange.name, routingKey: i % 3 === 0 ? "nowhere" : "here" }),
        ),
      );
      expect(outcomes.map((o) => o.status)).toEqual(
        Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? "rejected" : "fulfilled")),
      );
    });

    test("a growing consumer takes more of a quorum queue, and less again, as its prefetch says", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport, { arguments: { "x-queue-type": "quorum" } });
      const inbox = new Inbox();
      const consumer = await transport.consume([queue.name], { prefetch: 1, growing: true }, inbox.take);
      expect(consumer.canChangePrefetch).toBe(true);
      for (let i = 0; i < 8; i++) await transport.publish(text(`${i}`), toQueue(queue));
      expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["0"]);
      consumer.setPrefetch(2);
      await inbox.waitFor(2);
      consumer.setPrefetch(4);
      await inbox.waitFor(4);
      consumer.setPrefetch(1);
      for (const delivery of inbox.got.slice(0, 3)) delivery.ack();
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(4);
      consumer.setPrefetch(70);
      await inbox.waitFor(8);
      for (const delivery of inbox.got.slice(3)) delivery.ack();
      await transport.flush();
      await consumer.cancel();
      expect(await transport.inspectQueue(queue.name)).toMatchObject({ messages: 0, consumers: 0 });
    });

    test("a queue that was deleted is declared again after a message to it came back", async () => {
      const { url } = await vhost();
      const [a, b] = [await open(url), await open(url)];
      const queue = await declared(a);
      await b.deleteQueue(queue.name);
      await expect(a.publish(text("x"), toQueue(queue))).rejects.toMatchObject({ code: "UNROUTABLE" });
      await a.declare([queue]);
      await a.publish(text("x"), toQueue(queue));
    });

    test("a message that makes the broker close the channel is rejected, those around it are not", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport);
      const bad = { ...text("bad"), properties: { expiration: "soon" } };
      const outcomes = await Promise.allSettled([
        ...[1, 2, 3].map((n) => transport.publish(text(`${n}`), toQueue(queue))),
        transport.publish(bad, toQueue(queue)),
        transport.publish(text("x"), { exchange: "no-such-exchange", routingKey: "x" }),
        ...[4, 5, 6].map((n) => transport.publish(text(`${n}`), toQueue(queue))),
      ]);
      expect(outcomes.map((o) => o.status)).toEqual([
        ...["fulfilled", "fulfilled", "fulfilled"],
        ...["rejected", "rejected"],
        ...["fulfilled", "fulfilled", "fulfilled"],
      ]);
      const reasons = outcomes.flatMap((o) => (o.status === "rejected" ? [o.reason] : []));
      expect(reasons.every((reason) => reason instanceof PublishError)).toBe(true);
      expect(String(reasons[1])).toContain("no-such-exchange");
      const inbox = await consuming(transport, [queue.name], 100, (d) => d.ack());
      await until(() => new Set(inbox.got.map(bodyText)).size === 6, "six messages");
      expect(inbox.got.some((d) => bodyText(d) === "bad")).toBe(false);
    });

    test("a message that makes the broker end the connection is rejected, those around it are not", async () => {
      const { proxy } = await proxied();
      const transport = await open(proxy.url);
      const queue = await declared(transport);
      // RabbitMQ 3.10 dies of a header of unknown type, as it does of NaN.
      const spoil = (bytes: Buffer) => bytes.toString("latin1").replaceAll("\x06poisont", "\x06poison?");
      proxy.rewrite = (bytes) => Buffer.from(spoil(bytes), "latin1");
      const outcomes = await Promise.allSettled([
        transport.publish(text("1"), toQueue(queue)),
        transport.publish({ ...text("bad"), headers: { poison: true } }, toQueue(queue)),
        transport.publish(text("2"), toQueue(queue)),
      ]);
      expect(outcomes.map((o) => o.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      const inbox = await consuming(transport, [queue.name], 100, (d) => d.ack());
      await until(() => new Set(inbox.got.map(bodyText)).size === 2, "two messages");
    });

    test("a message that cannot be written is rejected before anything is sent", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport);
      const huge = { ...text("x"), headers: { long: "x".repeat(200_000) } };
      await expect(transport.publish(huge, toQueue(queue))).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
      const impossible = { ...text("x"), headers: { big: 2n ** 63n } };
      await expect(transport.publish(impossible, toQueue(queue))).rejects.toMatchObject({ code: "ENCODE" });
      const longId = { ...text("x"), properties: { correlationId: "x".repeat(256) } };
      await expect(transport.publish(longId, toQueue(queue))).rejects.toMatchObject({ code: "ENCODE" });
      await transport.publish(text("fits"), toQueue(queue));
      expect((await transport.inspectQueue(queue.name))?.messages).toBe(1);
    });

    test("a full queue that refuses is a PublishError NACKED that may be tried again", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport, { arguments: { "x-max-length": 1, "x-overflow": "reject-publish" } });
      await transport.publish(text("1"), toQueue(queue));
      const refused = transport.publish(text("2"), toQueue(queue));
      await expect(refused).rejects.toMatchObject({ code: "NACKED", retryable: true });
    });

    test("integers, dates, decimals and bytes in headers survive", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport);
      const headers = {
        big: 2n ** 62n + 1n,
        when: new PyDateTime(1_700_000_000_000, { offsetMinutes: null }),
        price: new PyDecimal("1.25"),
        raw: Uint8Array.of(0xff, 0xfe),
      };
      await transport.publish({ ...text("x"), headers }, toQueue(queue));
      const [got] = await (await consuming(transport, [queue.name])).waitFor(1);
      expect(got?.message.headers).toEqual(headers);
      got?.ack();
    });

    test("a message without headers is one without headers", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport);
      await transport.publish({ body: Buffer.from("x"), headers: null, properties: {} }, toQueue(queue));
      const [got] = await (await consuming(transport, [queue.name])).waitFor(1);
      expect(got?.message).toEqual({ body: Buffer.from("x"), headers: null, properties: {} });
      got?.ack();
    });

    test("with quorum queues a consumer of several never holds more than its prefetch", async () => {
      const transport = await open((await vhost()).url);
      const quorum = { arguments: { "x-queue-type": "quorum" } };
      const [a, b] = [await declared(transport, quorum), await declared(transport, quorum)];
      const classic = await declared(transport);
      for (const queue of [a, b, a, b, a, b]) await transport.publish(text("x"), toQueue(queue));
      const inbox = await consuming(transport, [classic.name], 2);
      expect(inbox.consumer.canChangePrefetch).toBe(true);
      await inbox.consumer.addQueue(a.name);
      await inbox.consumer.addQueue(b.name);
      expect(inbox.consumer.canChangePrefetch).toBe(false);
      await inbox.waitFor(2);
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(2);
      for (let i = 0; i < 6; i++) {
        (await inbox.waitFor(i + 1))[i]?.ack();
        expect(inbox.got.length).toBeLessThanOrEqual(i + 3);
      }
      await inbox.consumer.cancel();
      await transport.flush();
    });

    test("a quorum queue that we did not declare is found out by the broker's refusal", async () => {
      const { url } = await vhost();
      const maker = await open(url);
      const queue = await declared(maker, { arguments: { "x-queue-type": "quorum" } });
      const transport = await open(url);
      const inbox = await within(consuming(transport, [queue.name], 1), "consume");
      expect(inbox.consumer.canChangePrefetch).toBe(false);
      await transport.publish(text("x"), toQueue(queue));
      (await inbox.waitFor(1))[0]?.ack();
    });

    test("a consumer goes on when its queue was deleted", async () => {
      const { url } = await vhost();
      const [a, b] = [await open(url), await open(url)];
      const queue = await declared(a);
      const other = await declared(a);
      const inbox = await consuming(a, [queue.name, other.name], 10, (d) => d.ack());
      await b.deleteQueue(queue.name);
      await until(async () => (await b.inspectQueue(queue.name))?.consumers === 1, "the queue to be consumed again");
      await b.publish(text("again"), toQueue(queue));
      await b.publish(text("other"), toQueue(other));
      expect((await inbox.waitFor(2)).map(bodyText).sort()).toEqual(["again", "other"]);
    });

    test("a consumer waits for a queue of others to come back", async () => {
      const { url } = await vhost();
      const [a, b] = [await open(url), await open(url)];
      const queue = await declared(b);
      const inbox = await consuming(a, [queue.name], 10, (d) => d.ack());
      await b.deleteQueue(queue.name);
      await roundTrip(a);
      await b.declare([queue]);
      await b.publish(text("back"), toQueue(queue));
      expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["back"]);
    });

    test("a queue that deletes itself is there again after a reconnect, with its consumer", async () => {
      const { vhost: home, proxy } = await proxied();
      const transport = await open(proxy.url);
      const queue = await declared(transport, { autoDelete: true });
      const inbox = await consuming(transport, [queue.name], 10, (d) => d.ack());
      proxy.cut();
      const other = await open(home.url);
      await until(
        async () => (await other.inspectQueue(queue.name))?.consumers === 1,
        "the queue to be consumed again",
      );
      await other.publish(text("x"), toQueue(queue));
      await inbox.waitFor(1);
    });

    test("a handler that throws stops nothing", async () => {
      const problems: string[] = [];
      const log: Log = { ...silentLog, error: (_, message) => problems.push(message ?? "") };
      const transport = await open((await vhost()).url, { log });
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10, (delivery) => {
        delivery.ack();
        throw new RangeError("mine");
      });
      await transport.publish(text("1"), toQueue(queue));
      await transport.publish(text("2"), toQueue(queue));
      await inbox.waitFor(2);
      expect(problems).toEqual(["the handler of a delivery threw", "the handler of a delivery threw"]);
    });

    test("when one URL fails the next is used, and events tell of it", async () => {
      const { vhost: home, proxy } = await proxied();
      const second = await Proxy.before(home.url);
      ends.push(() => second.close());
      const told: string[] = [];
      const transport = await open(proxy.url, {
        urls: [proxy.url, second.url],
        events: {
          onConnected: (url) => told.push(`connected ${new URL(url).port}`),
          onLost: (error) => told.push(`lost ${error.name}`),
        },
      });
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10, (d) => d.ack());
      await proxy.refuse();
      await transport.publish(text("x"), toQueue(queue));
      await inbox.waitFor(1);
      await until(() => told.length >= 3, "three events");
      expect(told).toEqual([
        `connected ${new URL(proxy.url).port}`,
        "lost ConnectionLost",
        `connected ${new URL(second.url).port}`,
      ]);
    });

    test("what waits while there is no broker is sent when there is one, unless its signal ended it", async () => {
      const { vhost: home, proxy } = await proxied();
      const retries: number[] = [];
      const transport = await open(proxy.url, { events: { onRetry: (_, delayMs) => retries.push(delayMs) } });
      const queue = await declared(transport);
      await proxy.refuse();
      await until(() => !transport.connected, "the loss to be noticed");
      const abort = new AbortController();
      const given = transport.publish(text("given up"), toQueue(queue), { signal: abort.signal });
      const kept = Array.from({ length: 50 }, (_, i) => transport.publish(text(`${i}`), toQueue(queue)));
      await until(() => retries.length >= 3, "three retries");
      abort.abort(new RangeError("enough"));
      await expect(given).rejects.toThrow("enough");
      await proxy.listen();
      await Promise.all(kept);
      const other = await open(home.url);
      const inbox = await consuming(other, [queue.name], 0, (d) => d.ack());
      expect((await inbox.waitFor(50)).map(bodyText)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
      await roundTrip(other);
      expect(inbox.got).toHaveLength(50);
    });

    test("a silent connection is given up when it owes a confirm, and the message arrives", async () => {
      const { proxy } = await proxied();
      const lost: string[] = [];
      const transport = await open(proxy.url, {
        stallTimeoutMs: 300,
        connectionTimeoutMs: 500,
        events: { onLost: (error) => lost.push(error.message) },
      });
      const queue = await declared(transport);
      proxy.silent = true;
      const publishing = transport.publish(text("x"), toQueue(queue));
      await until(() => lost.length >= 1, "the loss to be noticed");
      expect(lost[0]).toContain("silent for 300 ms");
      proxy.silent = false;
      await within(publishing, "the publish");
      expect((await transport.inspectQueue(queue.name))?.messages).toBe(1);
    });

    test("a silent connection does not hold up cancel, flush or close", async () => {
      const { proxy } = await proxied();
      const transport = await open(proxy.url, { stallTimeoutMs: 300, connectionTimeoutMs: 300, closeTimeoutMs: 300 });
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name]);
      await transport.publish(text("x"), toQueue(queue));
      const [got] = await inbox.waitFor(1);
      proxy.silent = true;
      got?.ack();
      await within(transport.flush(), "flush", 15_000);
      await within(inbox.consumer.cancel(), "cancel", 15_000);
      await within(transport.close(), "close", 15_000);
    });

    test("a connection that was silent to the last leaves no timer behind that keeps the process alive", async () => {
      const { proxy } = await proxied();
      const begin = vi.spyOn(globalThis, "setInterval");
      const end = vi.spyOn(globalThis, "clearInterval");
      try {
        const transport = await open(proxy.url, { heartbeatS: 60, closeTimeoutMs: 100 });
        const beats = begin.mock.results.map(({ value }) => value);
        expect(beats.length).toBeGreaterThan(0);
        proxy.silent = true;
        await within(transport.close(), "close", 15_000);
        await until(() => beats.every((beat) => end.mock.calls.some(([timer]) => timer === beat)), "the timers to end");
      } finally {
        vi.restoreAllMocks();
      }
    });

    test("a silent connection that owes nothing is found by its heartbeat", async () => {
      const { vhost: home, proxy } = await proxied();
      const lost: string[] = [];
      const transport = await open(proxy.url, {
        heartbeatS: 1,
        connectionTimeoutMs: 500,
        events: { onLost: (error) => lost.push(error.message) },
      });
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10, (d) => d.ack());
      proxy.silent = true;
      await until(() => lost.length >= 1, "the loss to be noticed");
      expect(lost[0]).toContain("Heartbeat");
      proxy.silent = false;
      const other = await open(home.url);
      await other.publish(text("x"), toQueue(queue));
      await inbox.waitFor(1);
    });

    test("an idle connection is kept alive by heartbeats", async () => {
      const { vhost: home, proxy } = await proxied();
      const lost: Error[] = [];
      await open(proxy.url, { heartbeatS: 2, events: { onLost: (error) => lost.push(error) } });
      const watched = await open(home.url, { heartbeatS: 2 });
      // Three intervals: RabbitMQ ends a connection after two without a sign of life.
      const begin = Date.now();
      await until(() => Date.now() - begin > 6_500, "three intervals");
      expect(lost).toEqual([]);
      expect(proxy.accepted).toBe(1);
      expect(watched.connected).toBe(true);
    });

    test("a broker that accepts and says nothing does not hold up connect for longer than its timeout", async () => {
      const { proxy } = await proxied();
      proxy.silent = true;
      const errors: string[] = [];
      const transport = make(proxy.url, {
        connectionTimeoutMs: 1_000,
        events: { onRetry: (error) => errors.push(error.message) },
      });
      const connecting = transport.connect();
      await until(() => errors.length >= 1, "a retry");
      expect(errors[0]).toContain("did not answer within 1000 ms");
      proxy.silent = false;
      await within(connecting, "connect");
    });

    test("close in the middle of a handshake, or of a backoff, is quick", async () => {
      const { proxy } = await proxied();
      proxy.silent = true;
      for (const url of [proxy.url, "amqp://127.0.0.1:1"]) {
        const transport = make(url, { connectionTimeoutMs: 60_000, backoff: { initialMs: 60_000, maxMs: 60_000 } });
        const retried = new Promise<void>((resolve) => setImmediate(resolve));
        const connecting = transport.connect().catch((error: unknown) => error);
        await retried;
        await within(transport.close(), "close", 10_000);
        expect(await within(connecting, "connect", 10_000)).toMatchObject({ code: "TRANSPORT_CLOSED" });
      }
    });

    test("a wrong password and a missing virtual host are refused at once, without the password in the words", async () => {
      const { url } = await vhost();
      const wrong = new URL(url);
      wrong.password = "wrong-secret";
      const missing = new URL(url);
      missing.pathname = "/no-such-vhost";
      for (const bad of [wrong, missing]) {
        const transport = make(bad.href);
        const waiting = transport.publish(text("x"), { exchange: "", routingKey: "q" }).catch((e: unknown) => e);
        const error: unknown = await within(transport.connect(), "connect").catch((e: unknown) => e);
        expect(error).toMatchObject({ code: "CONNECTION_REFUSED" });
        expect(String(error)).not.toContain("secret");
        expect(await waiting).toMatchObject({ code: "CONNECTION_REFUSED" });
      }
      const both = make(url, { urls: [wrong.href, url] });
      await within(both.connect(), "connect through the second URL");
    });

    test("the broker's own close of the connection is survived", async () => {
      const { url, name } = await vhost();
      const clientName = unique("client");
      const transport = await open(url, { clientName });
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10, (d) => d.ack());
      const connections = async () => {
        const listed: unknown = await (await rabbitApi("GET", `/api/vhosts/${name}/connections`)).json();
        return Array.isArray(listed)
          ? listed.filter(
              (c) => c.user_provided_name === clientName || c.client_properties?.connection_name === clientName,
            )
          : [];
      };
      await until(async () => (await connections()).length === 1, "the connection to be listed", 20_000);
      const [mine] = await connections();
      await rabbitApi("DELETE", `/api/connections/${encodeURIComponent(mine.name)}`);
      await until(() => !transport.connected, "the loss to be noticed");
      await transport.publish(text("x"), toQueue(queue));
      await inbox.waitFor(1);
    });

    test("while the broker takes no messages publishing waits, and consuming goes on", async () => {
      const { vhost: home, proxy } = await proxied();
      const told: string[] = [];
      const log: Log = { ...silentLog, warn: (_, message) => told.push(message ?? "") };
      const transport = await open(proxy.url, { log, stallTimeoutMs: 2_000 });
      const other = await open(home.url);
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10, (d) => d.ack());
      // connection.blocked with the reason "low on memory", and connection.unblocked.
      proxy.inject(Buffer.from("01000000000012000a003c0d6c6f77206f6e206d656d6f7279ce", "hex"));
      await until(() => told.length === 1, "the warning");
      expect(told[0]).toContain("short of resources");
      let done = false;
      const publishing = transport.publish(text("waits"), toQueue(queue)).then(() => {
        done = true;
      });
      await other.publish(text("comes"), toQueue(queue));
      expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["comes"]);
      expect(done).toBe(false);
      proxy.inject(Buffer.from("01000000000004000a003dce", "hex"));
      await publishing;
      expect((await inbox.waitFor(2)).map(bodyText)).toEqual(["comes", "waits"]);
      expect(proxy.accepted).toBe(1);
    });

    test("publishes beyond the window wait for their turn", async () => {
      const transport = await open((await vhost()).url, { maxInFlightPublishes: 2 });
      const queue = await declared(transport);
      await Promise.all(Array.from({ length: 50 }, (_, i) => transport.publish(text(`${i}`), toQueue(queue))));
      const inbox = await consuming(transport, [queue.name], 0, (d) => d.ack());
      expect((await inbox.waitFor(50)).map(bodyText)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
    });

    test("close sends first what was published", async () => {
      const { url } = await vhost();
      const [a, b] = [await open(url), await open(url)];
      const queue = await declared(a);
      const publishing = Array.from({ length: 500 }, (_, i) => a.publish(text(`${i}`), toQueue(queue)));
      await a.close();
      await Promise.all(publishing);
      expect((await b.inspectQueue(queue.name))?.messages).toBe(500);
    });

    test("messages of many frames pass in both directions at once", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10, (d) => d.ack());
      const body = Buffer.alloc(3_000_000, "abcdefg");
      const sending = Array.from({ length: 12 }, () => transport.publish({ ...text(""), body }, toQueue(queue)));
      await Promise.all(sending);
      for (const got of await inbox.waitFor(12)) expect(Buffer.compare(got.message.body, body)).toBe(0);
    });

    test("prefetch beyond 65535 is no limit", async () => {
      const transport = await open((await vhost()).url);
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 70_000, (d) => d.ack());
      await transport.publish(text("x"), toQueue(queue));
      await inbox.waitFor(1);
    });

    test("an exclusive consumer is alone", async () => {
      const { url } = await vhost();
      const [a, b] = [await open(url), await open(url)];
      const queue = await declared(a);
      const inbox = new Inbox();
      inbox.consumer = await a.consume([queue.name], { prefetch: 1, exclusive: true }, inbox.take);
      await expect(b.consume([queue.name], { prefetch: 1 }, () => undefined)).rejects.toThrow(/exclusive/);
      await roundTrip(b);
    });
  });
});
