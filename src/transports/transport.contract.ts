/**
 * The clauses that every transport keeps, one test each: `testTransport` is a transport's test, beside the few things that
 * only it can do. To change what transports promise, change this file.
 *
 * `make` hands over transports that are not connected; the suite connects them and `dispose` closes whatever it made.
 */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import type { Message } from "../../protocol/message.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import { MessageStateError, PublishError, QueueClash, QueueNotFound, TransportClosed } from "./errors.ts";
import type { Consumer, Delivery, Transport } from "./transport.ts";

export interface TransportRig {
  /** Not connected yet. */
  transport: Transport;
  /** One more transport on the same broker, not connected yet. */
  another(): Promise<Transport>;
  /** Closes every transport made and removes what they left on the broker. */
  dispose(): Promise<void>;
  /** Breaks the connection of `transport` as a network would; it may reconnect at once. */
  cutConnection?(): Promise<void>;
}

export interface TransportSpec {
  name: string;
  make(): Promise<TransportRig>;
  can: {
    /** Declaring a queue with other attributes is refused. */
    clash: boolean;
    /** A queue that does not exist is told apart from an empty one. */
    knowsMissingQueues: boolean;
    /** Messages of one publisher leave a queue in the order in which they went in. */
    order: boolean;
    /** What a lost connection left unsettled comes back at once (Redis: only after the visibility timeout). */
    redeliversAfterLoss: boolean;
    /** Held deliveries stay valid over a reconnect (Redis: their records outlive the connection). @default false */
    keepsHeldDeliveries?: boolean;
    fanout: boolean;
    topic: boolean;
  };
}

const DEADLINE_MS = 30_000;

export function testTransport(spec: TransportSpec): void {
  describe(`${spec.name} keeps the transport contract`, () => {
    const rigs: TransportRig[] = [];
    afterEach(async () => {
      for (const rig of rigs.splice(0)) await rig.dispose();
    }, 20_000);

    async function start(): Promise<TransportRig> {
      const rig = await spec.make();
      rigs.push(rig);
      await rig.transport.connect();
      return rig;
    }

    async function startIdle(): Promise<TransportRig> {
      const rig = await spec.make();
      rigs.push(rig);
      return rig;
    }

    async function second(rig: TransportRig): Promise<Transport> {
      const transport = await rig.another();
      await transport.connect();
      return transport;
    }

    const clause = (name: string, body: () => Promise<void>, runs = true) => test.runIf(runs)(name, body, 20_000);

    // ------------------------------------------------------------------------------------------- what is carried

    clause("body bytes survive exactly: none, all 256 values, several frames long", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name]);
      const bodies = [new Uint8Array(0), Uint8Array.from({ length: 256 }, (_, i) => i), pattern(300_000)];
      for (const body of bodies) await transport.publish({ ...text(""), body }, toQueue(queue));
      const got = await inbox.waitFor(bodies.length);
      const sizes = got.map((d) => d.message.body.length).sort((a, b) => a - b);
      expect(sizes).toEqual([0, 256, 300_000]);
      for (const delivery of got) {
        const wanted = bodies.find((b) => b.length === delivery.message.body.length);
        expect(Buffer.compare(delivery.message.body, wanted ?? new Uint8Array(1))).toBe(0);
        delivery.ack();
      }
    });

    clause("headers, content type and properties survive exactly, and their absence too", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name]);
      const headers = {
        task: "näme.✓.😀",
        empty: "",
        none: null,
        zero: 0,
        negative: -129,
        big: 2 ** 31,
        bigger: -(2 ** 52),
        float: 1.25,
        yes: true,
        no: false,
        timelimit: [null, 30],
        nested: { a: [1, { b: null }], c: {} },
        list: [],
      };
      const message: Message = {
        body: bytes("x"),
        contentType: "application/json",
        contentEncoding: "utf-8",
        headers,
        properties: {
          correlationId: "cörrelation",
          replyTo: "answers",
          deliveryMode: 2,
          priority: 3,
          messageId: "m-1",
          type: "t",
          appId: "app",
          expiration: "600000",
          timestamp: 1_700_000_000,
        },
      };
      await transport.publish(message, toQueue(queue));
      const [first] = await inbox.waitFor(1);
      expect(first?.message.headers).toEqual(headers);
      expect(first?.message.contentType).toBe("application/json");
      expect(first?.message.contentEncoding).toBe("utf-8");
      expect(first?.message.properties).toMatchObject(message.properties);
      expect(first?.info).toMatchObject({
        exchange: "",
        routingKey: queue.name,
        queue: queue.name,
        redelivered: false,
      });
      expect(first?.message.refused).toBeUndefined();
      first?.ack();

      await transport.publish({ body: bytes("y"), headers: {}, properties: {} }, toQueue(queue));
      const bare = (await inbox.waitFor(2))[1];
      expect(bare?.message.properties.correlationId).toBeUndefined();
      expect(bare?.message.properties.replyTo).toBeUndefined();
      expect(bare?.message.properties.expiration).toBeUndefined();
      bare?.ack();
    });

    clause("a header named __proto__ stays a plain header", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name]);
      const headers = JSON.parse('{"__proto__": {"polluted": true}, "in": {"__proto__": {"polluted": true}}}');
      await transport.publish({ ...text("x"), headers }, toQueue(queue));
      const [first] = await inbox.waitFor(1);
      const got = first?.message.headers ?? {};
      expect("polluted" in got).toBe(false);
      const nested = got.in;
      expect(typeof nested === "object" && nested !== null && "polluted" in nested).toBe(false);
      expect(Object.keys(got).sort()).toEqual(["__proto__", "in"]);
      first?.ack();
    });

    clause(
      "a queue hands out its messages in order",
      async () => {
        const { transport } = await start();
        const queue = await declared(transport);
        const wanted = Array.from({ length: 200 }, (_, i) => `${i}`);
        await Promise.all(wanted.map((body) => transport.publish(text(body), toQueue(queue))));
        const inbox = await consuming(transport, [queue.name], 10, ack);
        expect((await inbox.waitFor(wanted.length)).map(bodyText)).toEqual(wanted);
      },
      spec.can.order,
    );

    clause("a thousand messages published at once arrive once each", async () => {
      const rig = await start();
      const consumerSide = await second(rig);
      const queue = await declared(rig.transport);
      await consumerSide.declare([queue]);
      const inbox = await consuming(consumerSide, [queue.name], 100);
      inbox.onEach = (d) => d.ack();
      const wanted = Array.from({ length: 1000 }, (_, i) => `${i}`);
      await Promise.all(wanted.map((body) => rig.transport.publish(text(body), toQueue(queue))));
      const got = (await inbox.waitFor(wanted.length)).map(bodyText);
      expect(got.map(Number).sort((a, b) => a - b)).toEqual(wanted.map(Number));
      await consumerSide.flush();
      await until(async () => ((await rig.transport.inspectQueue(queue.name))?.messages ?? 0) === 0, "an empty queue");
    });

    clause("urgent messages overtake the others", async () => {
      const { transport } = await start();
      if (!transport.can.priorities) return;
      const queue = queueOf({ arguments: { "x-max-priority": 9 } });
      await transport.declare([queue]);
      const lowFirst = transport.can.urgent === "highest" ? [0, 9] : [9, 0];
      for (const priority of lowFirst) {
        const message = text(`${priority}`);
        await transport.publish({ ...message, properties: { ...message.properties, priority } }, toQueue(queue));
      }
      const inbox = await consuming(transport, [queue.name], 1, ack);
      expect((await inbox.waitFor(2)).map(bodyText)).toEqual(lowFirst.map(String).reverse());
    });

    // -------------------------------------------------------------------------------------------------- prefetch

    clause("a consumer never holds more than its prefetch over all its queues, and a raise releases more", async () => {
      const rig = await start();
      const { transport } = rig;
      const a = await declared(transport);
      const b = await declared(transport);
      const inbox = await consuming(transport, [a.name, b.name], 3);
      for (let i = 0; i < 6; i++) await transport.publish(text(`${i}`), toQueue(i % 2 ? a : b));
      await inbox.waitFor(3);
      const ready = async () =>
        ((await transport.inspectQueue(a.name))?.messages ?? 0) +
        ((await transport.inspectQueue(b.name))?.messages ?? 0);
      await until(async () => (await ready()) === 3, "three messages left on the broker");
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(3);

      inbox.got[0]?.ack();
      await inbox.waitFor(4);
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(4);

      if (!inbox.consumer.canChangePrefetch) return;
      inbox.consumer.setPrefetch(4);
      inbox.consumer.setPrefetch(5);
      await inbox.waitFor(6);
      expect(inbox.got).toHaveLength(6);

      inbox.consumer.setPrefetch(1);
      for (const delivery of inbox.got.slice(1, 6)) delivery.ack();
      for (let i = 0; i < 3; i++) await transport.publish(text(`again ${i}`), toQueue(a));
      await inbox.waitFor(7);
      await until(async () => (await ready()) === 2, "two messages left on the broker");
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(7);
      inbox.got[6]?.ack();
      await inbox.waitFor(8);
      inbox.got[7]?.ack();
      await inbox.waitFor(9);
      inbox.got[8]?.ack();
    });

    clause("a prefetch of 0 sets no limit", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 0);
      await Promise.all(Array.from({ length: 300 }, (_, i) => transport.publish(text(`${i}`), toQueue(queue))));
      for (const delivery of await inbox.waitFor(300)) delivery.ack();
    });

    // ---------------------------------------------------------------------------------------------- settlement

    clause("a delivery settles once", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name]);
      for (let i = 0; i < 3; i++) await transport.publish(text(`${i}`), toQueue(queue));
      const [a, b, c] = await inbox.waitFor(3);
      a?.ack();
      expect(() => a?.ack()).toThrow(MessageStateError);
      expect(() => a?.reject({ requeue: true })).toThrow(MessageStateError);
      b?.reject({ requeue: false });
      expect(() => b?.ack()).toThrow(MessageStateError);
      await transport.flush();
      expect(() => a?.ack()).toThrow(MessageStateError);
      c?.ack();
      await transport.flush();
      expect((await transport.inspectQueue(queue.name))?.messages).toBe(0);
    });

    clause("a message rejected with requeue comes back marked redelivered, one without is gone", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 1);
      inbox.onEach = (d) => {
        if (bodyText(d) === "drop") d.reject({ requeue: false });
        else if (!d.info.redelivered) d.reject({ requeue: true });
        else d.ack();
      };
      await transport.publish(text("drop"), toQueue(queue));
      await transport.publish(text("again"), toQueue(queue));
      const got = await inbox.waitFor(3);
      const counts = got.map((d) => `${bodyText(d)}:${d.info.redelivered}`).sort();
      expect(counts).toEqual(["again:false", "again:true", "drop:false"]);
      await transport.flush();
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(3);
    });

    clause("what was not settled comes back, marked redelivered, after close; what was settled does not", async () => {
      const rig = await start();
      const queue = await declared(rig.transport);
      const inbox = await consuming(rig.transport, [queue.name]);
      for (let i = 0; i < 4; i++) await rig.transport.publish(text(`${i}`), toQueue(queue));
      const got = await inbox.waitFor(4);
      const settled = new Set([bodyText(got[1]), bodyText(got[2])]);
      got[1]?.ack();
      got[2]?.reject({ requeue: false });
      await rig.transport.close();

      const other = await second(rig);
      await other.declare([queue]);
      const back = await consuming(other, [queue.name]);
      const again = await back.waitFor(2);
      expect(again.map((d) => d.info.redelivered)).toEqual([true, true]);
      expect(again.some((d) => settled.has(bodyText(d)))).toBe(false);
      for (const delivery of again) delivery.ack();
      await other.flush();
      await roundTrip(other);
      expect(back.got).toHaveLength(2);
    });

    clause("with noAck nothing is left to settle and nothing comes back", async () => {
      const rig = await start();
      const { transport } = rig;
      const queue = await declared(transport);
      const inbox = new Inbox();
      inbox.consumer = await transport.consume([queue.name], { prefetch: 0, noAck: true }, inbox.take);
      for (let i = 0; i < 3; i++) await transport.publish(text(`${i}`), toQueue(queue));
      const got = await inbox.waitFor(3);
      expect(() => got[0]?.ack()).toThrow(MessageStateError);
      await transport.close();
      const other = await second(rig);
      await other.declare([queue]);
      expect((await other.inspectQueue(queue.name))?.messages).toBe(0);
    });

    clause("a flushed ack is at the broker", async () => {
      const rig = await start();
      const queue = await declared(rig.transport);
      const inbox = await consuming(rig.transport, [queue.name]);
      await rig.transport.publish(text("x"), toQueue(queue));
      (await inbox.waitFor(1))[0]?.ack();
      await rig.transport.flush();
      await rig.transport.close();
      const other = await second(rig);
      await other.declare([queue]);
      expect((await other.inspectQueue(queue.name))?.messages).toBe(0);
    });

    // --------------------------------------------------------------------------------------------- consumers

    clause("after cancel nothing more is delivered, and what is held can still be settled", async () => {
      const rig = await start();
      const { transport } = rig;
      const queue = await declared(transport);
      const inbox = await consuming(transport, [queue.name], 10);
      for (let i = 0; i < 2; i++) await transport.publish(text(`${i}`), toQueue(queue));
      await inbox.waitFor(2);
      await inbox.consumer.cancel();
      await inbox.consumer.cancel();
      await transport.publish(text("later"), toQueue(queue));
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(2);
      for (const delivery of inbox.got) delivery.ack();
      await transport.flush();
      await transport.close();
      const other = await second(rig);
      await other.declare([queue]);
      const back = await consuming(other, [queue.name]);
      const again = await back.waitFor(1);
      await roundTrip(other);
      expect(back.got.map(bodyText)).toEqual(["later"]);
      again[0]?.ack();
    });

    clause("queues can be added to and taken from a running consumer", async () => {
      const { transport } = await start();
      const a = await declared(transport);
      const b = await declared(transport);
      const inbox = await consuming(transport, [a.name]);
      inbox.onEach = (d) => d.ack();
      await transport.publish(text("b1"), toQueue(b));
      await inbox.consumer.addQueue(b.name);
      await inbox.consumer.addQueue(b.name);
      expect([...inbox.consumer.queues].sort()).toEqual([a.name, b.name].sort());
      expect((await inbox.waitFor(1)).map((d) => d.info.queue)).toEqual([b.name]);
      await inbox.consumer.cancelQueue(a.name);
      await inbox.consumer.cancelQueue(a.name);
      expect([...inbox.consumer.queues]).toEqual([b.name]);
      await transport.publish(text("a1"), toQueue(a));
      await transport.publish(text("b2"), toQueue(b));
      await inbox.waitFor(2);
      await roundTrip(transport);
      expect(inbox.got.map(bodyText)).toEqual(["b1", "b2"]);
      await inbox.consumer.addQueue(a.name);
      expect(bodyText((await inbox.waitFor(3))[2])).toBe("a1");
    });

    clause("two consumers share the messages of a queue", async () => {
      const rig = await start();
      const queue = await declared(rig.transport);
      const other = await second(rig);
      await other.declare([queue]);
      const a = await consuming(rig.transport, [queue.name], 1);
      const b = await consuming(other, [queue.name], 1);
      for (let i = 0; i < 2; i++) await rig.transport.publish(text(`${i}`), toQueue(queue));
      await a.waitFor(1);
      await b.waitFor(1);
      expect([...a.got, ...b.got].map(bodyText).sort()).toEqual(["0", "1"]);
      a.got[0]?.ack();
      b.got[0]?.ack();
    });

    // ---------------------------------------------------------------------------------------------- routing

    clause("a direct exchange serves the queues bound with the routing key", async () => {
      const { transport } = await start();
      const exchange: Exchange = { name: unique("direct"), type: "direct" };
      const queues = ["red", "red", "blue"].map((routingKey) => queueOf({ exchange, routingKey }));
      await transport.declare(queues);
      const inbox = await consuming(transport, names(queues));
      inbox.onEach = (d) => d.ack();
      await transport.publish(text("r"), { exchange: exchange.name, routingKey: "red" });
      await transport.publish(text("b"), { exchange: exchange.name, routingKey: "blue" });
      const got = await inbox.waitFor(3);
      expect(got.map((d) => `${d.info.queue}:${bodyText(d)}`).sort()).toEqual(
        [`${queues[0]?.name}:r`, `${queues[1]?.name}:r`, `${queues[2]?.name}:b`].sort(),
      );
      expect(got.every((d) => d.info.exchange === exchange.name)).toBe(true);
      expect(new Set(got.map((d) => d.info.routingKey))).toEqual(new Set(["red", "blue"]));
    });

    clause(
      "a fanout exchange serves every queue bound to it",
      async () => {
        const rig = await start();
        const exchange: Exchange = { name: unique("fanout"), type: "fanout" };
        const queues = [queueOf({ exchange, routingKey: "" }), queueOf({ exchange, routingKey: "" })];
        const other = await second(rig);
        await rig.transport.declare(queues.slice(0, 1));
        await other.declare(queues.slice(1));
        const a = await consuming(rig.transport, names(queues.slice(0, 1)));
        const b = await consuming(other, names(queues.slice(1)));
        a.onEach = b.onEach = (d) => d.ack();
        await rig.transport.publish(text("all"), { exchange: exchange.name, routingKey: "" }, { mandatory: false });
        expect((await a.waitFor(1)).map(bodyText)).toEqual(["all"]);
        expect((await b.waitFor(1)).map(bodyText)).toEqual(["all"]);
      },
      spec.can.fanout,
    );

    clause(
      "an exchange declared without a queue is published to, and serves the queues that others bind to it later",
      async () => {
        const rig = await start();
        const exchange: Exchange = { name: unique("control"), type: "fanout", durable: false };
        const to = { exchange: exchange.name, routingKey: "any.key" };
        await rig.transport.declare([], [exchange]);
        await rig.transport.publish(text("nobody listens"), to);
        const other = await second(rig);
        const queue = queueOf({ exchange, routingKey: "#", durable: false, autoDelete: true });
        await other.declare([queue]);
        const inbox = await consuming(other, [queue.name]);
        inbox.onEach = (d) => d.ack();
        await rig.transport.declare([], [exchange]);
        await rig.transport.publish(text("all"), to);
        expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["all"]);
        await inbox.consumer.cancel();
      },
      spec.can.fanout,
    );

    clause(
      "a topic exchange serves the queues whose pattern fits: * is one word, # any number",
      async () => {
        const { transport } = await start();
        const exchange: Exchange = { name: unique("topic"), type: "topic" };
        const one = queueOf({ exchange, routingKey: "worker.*" });
        const any = queueOf({ exchange, routingKey: "worker.#" });
        const exact = queueOf({ exchange, routingKey: "task.sent", bindings: [{ exchange, routingKey: "task.*.x" }] });
        await transport.declare([one, any, exact]);
        const inbox = await consuming(transport, names([one, any, exact]));
        inbox.onEach = (d) => d.ack();
        for (const routingKey of ["worker.a", "worker.a.b", "task.sent", "task.q.x"]) {
          await transport.publish(text(routingKey), { exchange: exchange.name, routingKey });
        }
        const got = (await inbox.waitFor(5)).map((d) => `${d.info.queue} ${bodyText(d)}`).sort();
        expect(got).toEqual(
          [
            `${one.name} worker.a`,
            `${any.name} worker.a`,
            `${any.name} worker.a.b`,
            `${exact.name} task.sent`,
            `${exact.name} task.q.x`,
          ].sort(),
        );
      },
      spec.can.topic,
    );

    clause("a message that no queue takes is a PublishError UNROUTABLE unless it need not arrive", async () => {
      const { transport } = await start();
      const exchange: Exchange = { name: unique("direct"), type: "direct" };
      const queue = queueOf({ exchange, routingKey: "somewhere" });
      await transport.declare([queue]);
      const nowhere = { exchange: exchange.name, routingKey: "nowhere" };
      const somewhere = { exchange: exchange.name, routingKey: "somewhere" };
      const outcomes = await Promise.allSettled([
        transport.publish(text("a"), somewhere),
        transport.publish(text("b"), nowhere),
        transport.publish(text("c"), somewhere),
        transport.publish(text("d"), nowhere, { mandatory: false }),
      ]);
      expect(outcomes.map((o) => o.status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
      const reason = outcomes[1]?.status === "rejected" ? outcomes[1].reason : undefined;
      expect(reason).toBeInstanceOf(PublishError);
      expect(reason).toMatchObject({ code: "UNROUTABLE", ...nowhere });
      expect((await transport.inspectQueue(queue.name))?.messages).toBe(2);
    });

    clause("messages that are published together arrive in their order, and those that cannot are named", async () => {
      const { transport } = await start();
      if (transport.publishAll === undefined) return;
      const queue = await declared(transport);
      const texts = Array.from({ length: 1_500 }, (_, n) => `${n}`);
      expect(
        await transport.publishAll(
          texts.map((each) => text(each)),
          toQueue(queue),
        ),
      ).toEqual([]);
      const inbox = await consuming(transport, [queue.name], 0);
      const got = await inbox.waitFor(texts.length);
      expect(got.map(bodyText)).toEqual(texts);
      for (const delivery of got) delivery.ack();
      expect(await transport.publishAll([], toQueue(queue))).toEqual([]);
      const nowhere = toQueue(queueOf());
      const failures = await transport.publishAll([text("a"), text("b")], nowhere);
      expect(failures.map(({ index }) => index)).toEqual([0, 1]);
      expect(failures[1]?.error).toMatchObject({ code: "UNROUTABLE", ...nowhere });
      const late = new AbortController();
      late.abort(new PublishError("too late", nowhere));
      await expect(transport.publishAll([text("c")], toQueue(queue), { signal: late.signal })).rejects.toBe(
        late.signal.reason,
      );
    });

    // ------------------------------------------------------------------------------------------- declaration

    clause("declaring the same twice, here and elsewhere, is quiet", async () => {
      const rig = await start();
      const exchange: Exchange = { name: unique("direct"), type: "direct" };
      const queue = queueOf({ exchange, routingKey: "k", bindings: [{ exchange, routingKey: "k2" }] });
      await rig.transport.declare([queue, queue]);
      await rig.transport.declare([queue]);
      const other = await second(rig);
      await other.declare([queue]);
      await other.publish(text("x"), { exchange: exchange.name, routingKey: "k2" });
      const inbox = await consuming(rig.transport, [queue.name]);
      (await inbox.waitFor(1))[0]?.ack();
      await roundTrip(rig.transport);
      expect(inbox.got).toHaveLength(1);
    });

    clause(
      "a clash is named, and the transport goes on",
      async () => {
        const rig = await start();
        const queue = await declared(rig.transport);
        const other = await second(rig);
        const clash = { ...queue, arguments: { "x-max-priority": 5 } };
        const error: unknown = await other.declare([clash]).catch((e: unknown) => e);
        expect(error).toBeInstanceOf(QueueClash);
        expect(error).toMatchObject({ code: "QUEUE_CLASH", queue: queue.name });
        expect(String(error)).toContain("x-max-priority");
        await other.publish(text("x"), toQueue(queue));
        const inbox = await consuming(other, [queue.name]);
        (await inbox.waitFor(1))[0]?.ack();
      },
      spec.can.clash,
    );

    clause("purge says how many there were, inspect how many there are, delete removes them", async () => {
      const { transport } = await start();
      const queue = await declared(transport);
      for (let i = 0; i < 3; i++) await transport.publish(text(`${i}`), toQueue(queue));
      const seen = await transport.inspectQueue(queue.name);
      expect(seen?.messages).toBe(3);
      expect(seen?.consumers === null || seen?.consumers === 0).toBe(true);
      expect(await transport.purge(queue.name)).toBe(3);
      expect((await transport.inspectQueue(queue.name))?.messages).toBe(0);
      await transport.publish(text("x"), toQueue(queue));
      await transport.deleteQueue(queue.name);
      const gone = await transport.inspectQueue(queue.name);
      if (spec.can.knowsMissingQueues) expect(gone).toBeNull();
      else expect(gone?.messages ?? 0).toBe(0);
      await transport.deleteQueue(queue.name);
    });

    clause(
      "a missing queue is named, and the transport goes on",
      async () => {
        const { transport } = await start();
        const missing = unique("missing");
        expect(await transport.inspectQueue(missing)).toBeNull();
        await expect(transport.purge(missing)).rejects.toBeInstanceOf(QueueNotFound);
        const consume = transport.consume([missing], { prefetch: 1 }, () => undefined);
        await expect(consume).rejects.toMatchObject({ code: "QUEUE_NOT_FOUND", queue: missing });
        const queue = await declared(transport);
        const inbox = await consuming(transport, [queue.name]);
        await expect(inbox.consumer.addQueue(missing)).rejects.toBeInstanceOf(QueueNotFound);
        await transport.publish(text("x"), toQueue(queue));
        (await inbox.waitFor(1))[0]?.ack();
      },
      spec.can.knowsMissingQueues,
    );

    // --------------------------------------------------------------------------------------------- life and death

    clause("publish before the connection waits for it, or rejects when its signal aborts", async () => {
      const rig = await startIdle();
      const helper = await second(rig);
      const queue = await declared(helper);
      const giveUp = new AbortController();
      const abandoned = rig.transport.publish(text("no"), toQueue(queue), { signal: giveUp.signal });
      let early = true;
      const waiting = rig.transport.publish(text("yes"), toQueue(queue)).then(() => {
        expect(early).toBe(false);
      });
      const reason = new Error("enough");
      giveUp.abort(reason);
      await expect(abandoned).rejects.toBe(reason);
      await expect(
        rig.transport.publish(text("no"), toQueue(queue), { signal: AbortSignal.abort(reason) }),
      ).rejects.toBe(reason);
      early = false;
      await rig.transport.connect();
      await waiting;
      const inbox = await consuming(helper, [queue.name]);
      expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["yes"]);
      inbox.got[0]?.ack();
      await roundTrip(helper);
      expect(inbox.got).toHaveLength(1);
    });

    clause("connect may be asked for twice, and rejects when its signal aborts", async () => {
      const rig = await startIdle();
      const reason = new Error("enough");
      await expect(rig.transport.connect(AbortSignal.abort(reason))).rejects.toBe(reason);
      await Promise.all([rig.transport.connect(), rig.transport.connect()]);
      expect(rig.transport.connected).toBe(true);
      await rig.transport.connect();
    });

    clause("close during connect ends both", async () => {
      const rig = await startIdle();
      const connecting = rig.transport.connect().then(
        () => "connected",
        (error: unknown) => error,
      );
      await within(rig.transport.close(), "close");
      const outcome = await within(connecting, "connect");
      if (outcome !== "connected") expect(outcome).toBeInstanceOf(TransportClosed);
      expect(rig.transport.connected).toBe(false);
    });

    clause("close before connect, and close twice, are fine; afterwards every act is refused", async () => {
      const rig = await startIdle();
      await within(rig.transport.close(), "close before connect");
      await expect(rig.transport.connect()).rejects.toBeInstanceOf(TransportClosed);

      const transport = await second(rig);
      const queue = await declared(transport);
      await within(Promise.all([transport.close(), transport.close()]), "close");
      await within(transport.close(), "close again");
      expect(transport.connected).toBe(false);
      await expect(transport.publish(text("x"), toQueue(queue))).rejects.toBeInstanceOf(TransportClosed);
      await expect(transport.declare([queue])).rejects.toBeInstanceOf(TransportClosed);
      await expect(transport.consume([queue.name], { prefetch: 1 }, () => undefined)).rejects.toBeInstanceOf(
        TransportClosed,
      );
      await within(transport.flush(), "flush");
    });

    clause("close rejects what is still waiting for a connection", async () => {
      const rig = await startIdle();
      const waiting = rig.transport.publish(text("x"), { exchange: "", routingKey: "never" }).catch((e: unknown) => e);
      await rig.transport.close();
      expect(await within(waiting, "the waiting publish")).toBeInstanceOf(TransportClosed);
    });

    clause("close leaves no handle open", async () => {
      const rig = await startIdle();
      const before = handles();
      await rig.transport.connect();
      const queue = await declared(rig.transport);
      const inbox = await consuming(rig.transport, [queue.name]);
      await rig.transport.publish(text("x"), toQueue(queue));
      await inbox.waitFor(1);
      await rig.transport.close();
      await until(
        () => exceeds(handles(), before).length === 0,
        () => `no more than before: ${exceeds(handles(), before)}`,
      );
    });

    describe("when the connection is cut", () => {
      async function startCuttable(): Promise<TransportRig & { cutConnection(): Promise<void> }> {
        const rig = await start();
        const cut = rig.cutConnection;
        if (!cut) throw new TypeError("this rig cannot cut connections");
        return { ...rig, cutConnection: () => cut.call(rig) };
      }
      let known: boolean | undefined;
      const cutClause = (name: string, body: () => Promise<void>) =>
        test(name, async (context) => {
          if (known === undefined) {
            const rig = await spec.make();
            known = rig.cutConnection !== undefined;
            await rig.dispose();
          }
          if (!known) return context.skip();
          await body();
        }, 30_000);

      cutClause("publishing goes on: it waits and nothing vanishes", async () => {
        const rig = await startCuttable();
        const queue = await declared(rig.transport);
        const first = rig.transport.publish(text("before"), toQueue(queue));
        const cutting = rig.cutConnection();
        const during = rig.transport.publish(text("during"), toQueue(queue));
        await cutting;
        const after = rig.transport.publish(text("after"), toQueue(queue));
        await within(Promise.all([first, during, after]), "the publishes");
        const other = await second(rig);
        await other.declare([queue]);
        const inbox = await consuming(other, [queue.name], 100, ack);
        await until(() => new Set(inbox.got.map(bodyText)).size === 3, "three messages");
        expect([...new Set(inbox.got.map(bodyText))].sort()).toEqual(["after", "before", "during"]);
      });

      cutClause("what was published together and not answered arrives on the next connection", async () => {
        const rig = await startCuttable();
        const { transport } = rig;
        if (transport.publishAll === undefined) return;
        const queue = await declared(transport);
        const texts = Array.from({ length: 3_000 }, (_, n) => `${n}`);
        const messages = texts.map((each) => text(each));
        const sent = transport.publishAll(messages, toQueue(queue));
        await rig.cutConnection();
        expect(await within(sent, "the publishes")).toEqual([]);
        const inbox = await consuming(await second(rig), [queue.name], 0);
        await until(() => new Set(inbox.got.map(bodyText)).size === texts.length, "every message is there");
      });

      cutClause("consumers resume, and held deliveries know that they are lost", async () => {
        const rig = await startCuttable();
        const other = await second(rig);
        const queue = await declared(rig.transport);
        const inbox = await consuming(rig.transport, [queue.name], 10);
        await rig.transport.publish(text("held"), toQueue(queue));
        const [held] = await inbox.waitFor(1);
        expect(held?.lost).toBe(false);
        await rig.cutConnection();
        if (spec.can.keepsHeldDeliveries !== true)
          await until(() => held?.lost === true, "the held delivery to be lost");
        held?.ack();
        expect(() => held?.ack()).toThrow(MessageStateError);
        inbox.onEach = (d) => d.ack();
        await other.publish(text("new"), toQueue(queue));
        await until(() => inbox.got.some((d) => bodyText(d) === "new"), "the new message");
        if (!spec.can.redeliversAfterLoss) return;
        await until(() => inbox.got.filter((d) => bodyText(d) === "held").length === 2, "the held message again");
        const again = inbox.got.filter((d) => bodyText(d) === "held")[1];
        expect(again?.info.redelivered).toBe(true);
        expect(again?.lost).toBe(false);
      });

      cutClause("close in the middle of it is quick and quiet", async () => {
        const rig = await startCuttable();
        const queue = await declared(rig.transport);
        await consuming(rig.transport, [queue.name]);
        const cutting = rig.cutConnection();
        await within(rig.transport.close(), "close");
        await cutting;
        expect(rig.transport.connected).toBe(false);
      });
    });
  });
}

// ---------------------------------------------------------------------------------------------------------- helpers

/** What a consumer received so far, and a way to wait for more. */
export class Inbox {
  readonly got: Delivery[] = [];
  consumer!: Consumer;
  onEach: (delivery: Delivery) => void = () => undefined;
  readonly take = (delivery: Delivery): void => {
    this.got.push(delivery);
    this.onEach(delivery);
    for (const look of this.#watchers.splice(0)) look();
  };
  readonly #watchers: (() => void)[] = [];

  async waitFor(count: number): Promise<Delivery[]> {
    const deadline = Date.now() + DEADLINE_MS;
    while (this.got.length < count) {
      const left = deadline - Date.now();
      if (left <= 0) throw new TypeError(`waited for ${count} deliveries, got ${this.got.length}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#watchers.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.got.slice(0, count);
  }
}

/** `onEach` sees every delivery, also those that come before `consume` has resolved. */
export async function consuming(
  transport: Transport,
  queues: readonly string[],
  prefetch = 100,
  onEach?: (delivery: Delivery) => void,
): Promise<Inbox> {
  const inbox = new Inbox();
  if (onEach) inbox.onEach = onEach;
  inbox.consumer = await transport.consume(queues, { prefetch }, inbox.take);
  return inbox;
}

const ack = (delivery: Delivery) => delivery.ack();

export function unique(kind: string): string {
  return `lovage-${kind}-${randomUUID()}`;
}

/** A queue as Celery makes it: durable, bound to a direct exchange of its own name; `part` overrides. */
export function queueOf(part: Partial<Queue> = {}): Queue {
  const name = part.name ?? unique("queue");
  return { name, exchange: { name, type: "direct" }, routingKey: name, ...part };
}

export async function declared(transport: Transport, part: Partial<Queue> = {}): Promise<Queue> {
  const queue = queueOf(part);
  await transport.declare([queue]);
  return queue;
}

export function toQueue(queue: Queue): { exchange: string; routingKey: string } {
  return { exchange: "", routingKey: queue.name };
}

export function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function text(body: string): Message {
  return {
    body: bytes(body),
    contentType: "text/plain",
    contentEncoding: "utf-8",
    headers: {},
    properties: { deliveryMode: 2, priority: 0 },
  };
}

export function bodyText(delivery: Delivery | undefined): string {
  return delivery ? new TextDecoder().decode(delivery.message.body) : "";
}

/** Resolves when a message has gone through the broker and back: whatever was to be delivered before has been. */
export async function roundTrip(transport: Transport): Promise<void> {
  const queue = await declared(transport);
  const inbox = await consuming(transport, [queue.name], 1);
  await transport.publish(text("probe"), toQueue(queue));
  (await inbox.waitFor(1))[0]?.ack();
  await transport.flush();
  await inbox.consumer.cancel();
  await transport.deleteQueue(queue.name);
}

export async function within<T>(promise: Promise<T>, what: string, ms = DEADLINE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TypeError(`${what} did not end within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks again and again, with a deadline, at state that no signal tells of (the broker's, another process's). */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  ms = DEADLINE_MS,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new TypeError(`waited ${ms} ms for ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function names(queues: readonly Queue[]): string[] {
  return queues.map((queue) => queue.name);
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}

function handles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (!kind.includes("Immediate") && !kind.includes("Tick")) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

function exceeds(now: Map<string, number>, before: Map<string, number>): string[] {
  return [...now].filter(([kind, count]) => count > (before.get(kind) ?? 0)).map(([kind, count]) => `${kind} ${count}`);
}
