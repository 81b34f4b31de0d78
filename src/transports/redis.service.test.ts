/** The Redis transport against a real server: the contract, and what only it can do. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { decodeEnvelope, decodeUnacked } from "../../protocol/kombu/envelope.ts";
import type { Queue } from "../../protocol/routing.ts";
import type { Log } from "../runtime/log.ts";
import { silentLog } from "../runtime/log.ts";
import { testService } from "../testing/services.ts";
import { QueueClash, QueueNotFound } from "./errors.ts";
import { createRedisTransport, type RedisTransport, type RedisTransportOptions } from "./redis.ts";
import {
  bodyText,
  consuming,
  Inbox,
  roundTrip,
  type TransportRig,
  testTransport,
  text,
  toQueue,
  until,
} from "./transport.contract.ts";

interface Capture {
  name: string;
  keys: Record<
    string,
    {
      members?: { text: string }[];
      members_scores?: [{ text: string }, number][];
      items_head_first?: { text: string }[];
    }
  >;
}

const captures = (
  JSON.parse(
    readFileSync(new URL("../../protocol/vectors/celery/redis-transport-publish.json", import.meta.url), "utf8"),
  ) as { samples: Capture[] }
).samples;

const url = testService("LOVAGE_TEST_REDIS_URL") ?? "";
const SEP = "\x06\x16";

describe.skipIf(url === "")("with a Redis server", () => {
  let admin: Redis;
  const made: { transports: RedisTransport[]; prefix: string }[] = [];

  beforeAll(() => {
    admin = new Redis(url);
  });
  afterEach(async () => {
    for (const { transports, prefix } of made.splice(0)) {
      await Promise.all(transports.map((transport) => transport.close()));
      const keys = await admin.keys(`${prefix}*`);
      if (keys.length > 0) await admin.del(...keys);
    }
  });
  afterAll(() => admin.disconnect());

  /** Transports under one random key prefix. */
  function startRig(options: Partial<RedisTransportOptions> = {}) {
    const prefix = `${randomUUID()}:`;
    const clientName = `t${randomUUID().slice(0, 8)}`;
    const transports: RedisTransport[] = [];
    made.push({ transports, prefix });
    const make = (name: string, more: Record<string, unknown> = {}): RedisTransport => {
      const transport = createRedisTransport({
        urls: url,
        ...options,
        transportOptions: { global_keyprefix: prefix, client_name: name, ...options.transportOptions, ...more },
      });
      transports.push(transport);
      return transport;
    };
    const kill = async (which: (name: string) => boolean) => {
      for (const line of String(await admin.client("LIST")).split("\n")) {
        const id = /^id=(\d+)/.exec(line)?.[1];
        const name = / name=lovage:(\S*)/.exec(line)?.[1];
        if (id !== undefined && name !== undefined && which(name)) await admin.call("CLIENT", "KILL", "ID", id);
      }
    };
    return {
      prefix,
      kill,
      transport: make(clientName),
      another: async (more: Record<string, unknown> = {}) => make(`${clientName}-other`, more),
      cutConnection: () => kill((name) => name === clientName || name === `${clientName}-subscriber`),
      dispose: async () => undefined,
    };
  }

  async function start(options: Partial<RedisTransportOptions> = {}) {
    const rig = startRig(options);
    await rig.transport.connect();
    return rig;
  }

  const plain = (name: string, part: Partial<Queue> = {}): Queue => ({
    name,
    exchange: { name: "", type: "direct" },
    routingKey: name,
    ...part,
  });
  const unackedRecords = async (prefix: string) => {
    const records = await admin.hgetall(`${prefix}unacked`);
    const scores = await admin.zrange(`${prefix}unacked_index`, "0", "-1", "WITHSCORES");
    return {
      records,
      scores: new Map(scores.flatMap((tag, at): [string, number][] => (at % 2 ? [] : [[tag, Number(scores[at + 1])]]))),
    };
  };

  testTransport({
    name: "redis",
    make: async (): Promise<TransportRig> => startRig(),
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

  describe("keys and records", () => {
    test("a message goes to the list of its priority step, newest at the head, as an envelope with a tag of its own", async () => {
      const { transport, prefix } = await start();
      for (const priority of [0, 2, 3, 5, 6, 8, 9, 200, -4]) {
        await transport.publish(
          { ...text(`${priority}`), properties: { priority } },
          { exchange: "", routingKey: "q" },
        );
      }
      const bodies = async (list: string) =>
        (await admin.lrange(prefix + list, 0, -1)).map((item) =>
          Buffer.from(String(JSON.parse(item).body), "base64").toString(),
        );
      expect(await bodies("q")).toEqual(["-4", "2", "0"]);
      expect(await bodies(`q${SEP}3`)).toEqual(["5", "3"]);
      expect(await bodies(`q${SEP}6`)).toEqual(["8", "6"]);
      expect(await bodies(`q${SEP}9`)).toEqual(["200", "9"]);
      const items = await admin.lrange(`${prefix}q`, 0, -1);
      const tags = items.map((item) => JSON.parse(item).properties.delivery_tag);
      expect(new Set(tags).size).toBe(3);
      expect(JSON.parse(items[0] ?? "").properties).toMatchObject({
        delivery_info: { exchange: "", routing_key: "q" },
        body_encoding: "base64",
      });
    });

    test("an ordinary queue is bound in both sets, one with x-expires in the table and its deadline", async () => {
      const { transport, prefix } = await start();
      const exchange = { name: "things", type: "topic" as const };
      await transport.declare([
        { name: "forever", exchange, routingKey: "a.#" },
        {
          name: "brief",
          exchange: { name: "short", type: "direct" },
          routingKey: "k",
          arguments: { "x-expires": 60_000 },
        },
      ]);
      const member = ["a.#", "^a\\..*?$", "forever"].join(SEP);
      expect(await admin.smembers(`${prefix}_kombu.binding.things`)).toEqual([member]);
      expect(await admin.smembers(`${prefix}_kombu.binding_permanent.things`)).toEqual([member]);
      expect(await admin.smembers(`${prefix}_kombu.binding.short`)).toEqual([["k", "", "brief"].join(SEP)]);
      expect(await admin.exists(`${prefix}_kombu.binding_permanent.short`)).toBe(0);
      const deadline = Number(await admin.zscore(`${prefix}_kombu.binding_deadlines`, "short"));
      expect(deadline - Date.now()).toBeGreaterThan(3_500_000);
      expect(deadline - Date.now()).toBeLessThan(3_700_000);

      await transport.publish(text("x"), { exchange: "short", routingKey: "k" });
      expect(await admin.pttl(`${prefix}brief`)).toBeGreaterThan(50_000);
      await transport.deleteQueue("brief");
      await transport.deleteQueue("forever");
      expect(await admin.keys(`${prefix}*`)).toEqual([`${prefix}_kombu.binding_deadlines`]);
    });

    test("a taken message is unacked under [envelope, exchange, queue] with the server's time, and gone after its ack", async () => {
      const { transport, prefix } = await start();
      await transport.publish(text("x"), { exchange: "", routingKey: "q" });
      const [item] = await admin.lrange(`${prefix}q`, 0, -1);
      const inbox = await consuming(transport, ["q"]);
      const [delivery] = await inbox.waitFor(1);
      const { records, scores } = await unackedRecords(prefix);
      expect(Object.values(records)).toEqual([`[${item}, "", "q"]`]);
      expect([...scores.keys()]).toEqual(Object.keys(records));
      const [seconds] = await admin.time();
      expect(Math.abs(([...scores.values()][0] ?? 0) - Number(seconds))).toBeLessThan(5);
      delivery?.ack();
      await transport.flush();
      expect(await admin.keys(`${prefix}*`)).toEqual([]);
    });

    test("the record of a message from a named exchange restores it to the queue it was popped from", async () => {
      const { transport, prefix } = await start();
      const exchange = { name: "topics", type: "topic" as const };
      await transport.declare([
        { name: "one", exchange, routingKey: "a.*" },
        { name: "two", exchange, routingKey: "#" },
      ]);
      await transport.publish(text("x"), { exchange: "topics", routingKey: "a.b" });
      const inbox = await consuming(transport, ["one", "two"]);
      await inbox.waitFor(2);
      const { records } = await unackedRecords(prefix);
      expect(
        Object.values(records)
          .map((record) => decodeUnacked(record).routingKey)
          .sort(),
      ).toEqual(["one", "two"]);
      expect(Object.values(records).every((record) => decodeUnacked(record).exchange === "")).toBe(true);
    });

    test("other separators, steps and names are honoured", async () => {
      const options = { sep: ":", priority_steps: [0, 5], unacked_key: "U", unacked_index_key: "I" };
      const { transport, prefix } = await start({ transportOptions: options });
      await transport.publish({ ...text("x"), properties: { priority: 7 } }, { exchange: "", routingKey: "q" });
      expect(await admin.llen(`${prefix}q:5`)).toBe(1);
      await (await consuming(transport, ["q"])).waitFor(1);
      expect(await admin.hlen(`${prefix}U`)).toBe(1);
      expect(await admin.zcard(`${prefix}I`)).toBe(1);
    });

    test("passive declaring only looks, and a changed exchange type is a clash", async () => {
      const { transport, prefix } = await start({ declareMode: "passive" });
      const queue: Queue = { name: "q", exchange: { name: "e", type: "direct" }, routingKey: "k" };
      await expect(transport.declare([queue])).rejects.toBeInstanceOf(QueueNotFound);
      await admin.sadd(`${prefix}_kombu.binding.e`, ["k", "", "q"].join(SEP));
      await transport.declare([queue]);
      await expect(transport.declare([{ ...queue, exchange: { name: "e", type: "topic" } }])).rejects.toBeInstanceOf(
        QueueClash,
      );
    });

    test("a binding that a peer makes later is used at once", async () => {
      const { transport, prefix } = await start();
      const to = { exchange: "later", routingKey: "k" };
      await expect(transport.publish(text("x"), to)).rejects.toMatchObject({ code: "UNROUTABLE" });
      await admin.sadd(`${prefix}_kombu.binding.later`, ["k", "", "found"].join(SEP));
      await transport.publish(text("x"), to);
      expect(await admin.llen(`${prefix}found`)).toBe(1);
    });

    test("what nobody is bound for goes to the dead letter queue, when one is named", async () => {
      const { transport, prefix } = await start({ transportOptions: { deadletter_queue: "dead" } });
      await transport.publish(text("x"), { exchange: "nowhere", routingKey: "k" });
      expect(await admin.llen(`${prefix}dead`)).toBe(1);
    });
  });

  describe("the captures of Celery's own publishing", () => {
    const strip = (key: string) => key.replace(/^pfx:/, "");
    const withoutTag = (item: string) => item.replace(/"delivery_tag": "[^"]*"/, '"delivery_tag": ""');

    test.each(captures.map((capture) => [capture.name, capture] as const))(
      "%s: same keys, members and bytes",
      async (name, { keys }) => {
        const own = name === "custom_sep_steps" ? { sep: ":", priority_steps: [0, 7] } : {};
        const sep = name === "custom_sep_steps" ? ":" : SEP;
        const { transport, prefix } = await start({ transportOptions: own });
        const wanted: Record<string, unknown> = {};
        for (const [key, value] of Object.entries(keys)) {
          if (value.members !== undefined) {
            const members = value.members.map((member) => member.text).sort();
            wanted[strip(key)] = members;
            const exchange = /^_kombu\.binding\.(.*)$/.exec(strip(key))?.[1];
            for (const member of exchange === undefined ? [] : members) {
              const [routingKey = "", pattern = "", queue = ""] = member.split(sep);
              const brief = !Object.keys(keys).some((other) => strip(other) === `_kombu.binding_permanent.${exchange}`);
              await transport.declare([
                {
                  name: queue,
                  exchange: { name: exchange ?? "", type: pattern === "" ? "direct" : "topic" },
                  routingKey,
                  ...(brief ? { arguments: { "x-expires": 60_000 } } : {}),
                },
              ]);
            }
          } else if (value.members_scores !== undefined) {
            wanted[strip(key)] = value.members_scores.map(([member]) => member.text);
          }
        }
        for (const [key, { items_head_first: items }] of Object.entries(keys)) {
          if (items === undefined) continue;
          wanted[strip(key)] = items.map((item) => withoutTag(item.text));
          for (const { text: item } of [...items].reverse()) {
            const { message, exchange, routingKey } = decodeEnvelope(item);
            await transport.publish(message, { exchange, routingKey });
          }
        }
        const found: Record<string, unknown> = {};
        for (const key of await admin.keys(`${prefix}*`)) {
          const type = await admin.type(key);
          const bare = key.slice(prefix.length);
          if (type === "set") found[bare] = (await admin.smembers(key)).sort();
          else if (type === "zset") found[bare] = await admin.zrange(key, "0", "-1");
          else found[bare] = (await admin.lrange(key, 0, -1)).map(withoutTag);
        }
        expect(found).toEqual(wanted);
      },
    );
  });

  describe("taking", () => {
    test("queues are served in turn, and priority before turn", async () => {
      const { transport } = await start();
      for (let i = 0; i < 3; i++) {
        for (const queue of ["a", "b"]) {
          await transport.publish(
            { ...text(`${queue}${i}`), properties: { priority: 3 } },
            { exchange: "", routingKey: queue },
          );
        }
      }
      await transport.publish(text("urgent"), { exchange: "", routingKey: "b" });
      const inbox = await consuming(transport, ["a", "b"], 2);
      inbox.onEach = (delivery) => delivery.ack();
      expect((await inbox.waitFor(7)).map(bodyText)).toEqual(["urgent", "a0", "b0", "a1", "b1", "a2", "b2"]);
    });

    test.each([
      ["priority", ["b0", "b1", "a0", "a1"]],
      ["sorted", ["a0", "a1", "b0", "b1"]],
    ])("order strategy %s", async (strategy, wanted) => {
      const { transport } = await start({ transportOptions: { queue_order_strategy: strategy } });
      for (const body of ["a0", "b0", "a1", "b1"])
        await transport.publish(text(body), { exchange: "", routingKey: body[0] ?? "" });
      const inbox = await consuming(transport, ["b", "a"], 3);
      inbox.onEach = (delivery) => delivery.ack();
      expect((await inbox.waitFor(4)).map(bodyText)).toEqual(wanted);
    });

    test("what is no envelope is delivered as refused, and settling removes it", async () => {
      const { transport, prefix } = await start();
      const junk = [
        "junk",
        "{broken}",
        "[1]",
        '{"body": 7}',
        "\xff\xfe",
        ' {"body": "!", "properties": {"body_encoding": "base64"}} \n',
      ];
      await admin.lpush(`${prefix}q`, ...junk);
      await transport.publish(text("fine"), { exchange: "", routingKey: "q" });
      const inbox = await consuming(transport, ["q"]);
      const got = await inbox.waitFor(junk.length + 1);
      for (const delivery of got.slice(0, -2)) expect(typeof delivery.message.refused).toBe("string");
      expect(bodyText(got.at(-1))).toBe("fine");
      for (const delivery of got) delivery.reject({ requeue: false });
      await transport.flush();
      expect(await admin.keys(`${prefix}*`)).toEqual([]);
    });

    test("what is no envelope goes back as it was", async () => {
      const { transport, prefix } = await start();
      const junk = ['ju"nk', "{broken}", "[1]"];
      await admin.lpush(`${prefix}q`, ...junk);
      const inbox = await consuming(transport, ["q"], 3);
      await inbox.waitFor(3);
      await transport.close();
      expect(await admin.lrange(`${prefix}q`, 0, -1)).toEqual([...junk].reverse());
      expect(await admin.exists(`${prefix}unacked`, `${prefix}unacked_index`)).toBe(0);
    });

    test("a message over the limit is refused without being read", async () => {
      const { transport, prefix } = await start({ maxMessageBytes: 1_000 });
      await transport.publish({ ...text(""), body: new Uint8Array(2_000) }, { exchange: "", routingKey: "q" });
      const [delivery] = await (await consuming(transport, ["q"])).waitFor(1);
      expect(delivery?.message.refused).toMatch(/over the limit of 1000/);
      delivery?.reject({ requeue: false });
      await transport.flush();
      expect(await admin.keys(`${prefix}*`)).toEqual([]);
    });

    test("a key of the wrong type stops nothing and loses nothing", async () => {
      const { transport, prefix } = await start();
      await admin.set(`${prefix}bad`, "not a list");
      const inbox = await consuming(transport, ["bad", "good"]);
      await transport.publish(text("x"), { exchange: "", routingKey: "good" });
      (await inbox.waitFor(1))[0]?.ack();
      await transport.flush();

      await admin.set(`${prefix}unacked`, "not a hash");
      await transport.publish(text("kept"), { exchange: "", routingKey: "good" });
      await roundTripOf(transport);
      expect(await admin.llen(`${prefix}good`)).toBe(1);
      await admin.del(`${prefix}unacked`);
      expect((await inbox.waitFor(2)).map(bodyText)).toEqual(["x", "kept"]);
    });

    test("goes on being woken after its pub/sub connection was lost", async () => {
      const { transport, another, kill } = await start();
      const other = await another();
      await other.connect();
      const inbox = await consuming(transport, ["q"]);
      inbox.onEach = (delivery) => delivery.ack();
      await roundTripOf(transport);
      await kill((name) => name.endsWith("-subscriber"));
      for (let i = 1; i <= 3; i++) {
        await other.publish(text(`${i}`), { exchange: "", routingKey: "q" });
        await inbox.waitFor(i);
      }
    });

    /** Something of the same consumer side has gone through. */
    async function roundTripOf(transport: RedisTransport): Promise<void> {
      await transport.inspectQueue("none");
      await transport.inspectQueue("none");
    }
  });

  describe("the visibility timeout", () => {
    test("held messages are renewed and not restored by anybody", async () => {
      const { transport, another, prefix } = await start({ transportOptions: { visibility_timeout: 0.6 } });
      const other = await another();
      await other.connect();
      await transport.publish(text("long"), { exchange: "", routingKey: "q" });
      const inbox = await consuming(transport, ["q"]);
      const [delivery] = await inbox.waitFor(1);
      const first = [...(await unackedRecords(prefix)).scores.values()][0] ?? 0;
      await until(
        async () => ([...(await unackedRecords(prefix)).scores.values()][0] ?? 0) > first + 1,
        "two renewals",
      );
      expect(await other.restoreOverdue()).toBe(0);
      expect(delivery?.lost).toBe(false);
      delivery?.ack();
      await transport.flush();
      expect(await admin.keys(`${prefix}*`)).toEqual([]);
    });

    test("a process that was killed while it restored does not keep others from it", async () => {
      const { transport, prefix } = await start({ transportOptions: { visibility_timeout: 0.5 } });
      const envelope =
        '{"body": "", "content-encoding": "utf-8", "content-type": "text/plain", "headers": {}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "a"}}';
      await admin.hset(`${prefix}unacked`, "a", `[${envelope}, "", "q"]`);
      await admin.zadd(`${prefix}unacked_index`, Date.now() / 1000 - 10, "a");
      await admin.set(`${prefix}unacked_mutex`, "the dead", "PX", 300_000);
      expect(await transport.restoreOverdue()).toBe(0);
      await until(async () => (await transport.restoreOverdue()) === 1, "the message to be restored");
      expect(await admin.llen(`${prefix}q`)).toBe(1);
      expect(await admin.exists(`${prefix}unacked_mutex`)).toBe(0);
    });

    test("what a process holds itself it does not give back, however late it comes to renew it", async () => {
      const { transport, prefix } = await start({ transportOptions: { visibility_timeout: 60 } });
      await transport.publish(text("held"), { exchange: "", routingKey: "q" });
      const inbox = await consuming(transport, ["q"]);
      const [held] = await inbox.waitFor(1);
      const [tag = ""] = await admin.zrange(`${prefix}unacked_index`, "0", "-1");
      await admin.zadd(`${prefix}unacked_index`, 1, tag);
      expect(await transport.restoreOverdue()).toBe(0);
      expect(held?.lost).toBe(false);
      held?.ack();
      await transport.flush();
      expect(await admin.exists(`${prefix}unacked`, `${prefix}unacked_index`, `${prefix}q`)).toBe(0);
    });

    test("what a dead consumer held comes back next, marked, oldest first; only one process restores", async () => {
      const { transport, another, prefix } = await start({ transportOptions: { visibility_timeout: 0.5 } });
      const other = await another();
      await other.connect();
      const envelope = (body: string) =>
        `{"body": "${Buffer.from(body).toString("base64")}", "content-encoding": "utf-8", "content-type": "text/plain", "headers": {"big": 12345678901234567890}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "${body}"}}`;
      const old = Date.now() / 1000 - 10;
      for (const [at, body] of ["a", "b", "c"].entries()) {
        await admin.hset(`${prefix}unacked`, body, `[${envelope(body)}, "", "q"]`);
        await admin.zadd(`${prefix}unacked_index`, old + at, body);
      }
      await admin.zadd(`${prefix}unacked_index`, old, "without a record");
      await transport.publish(text("ready"), { exchange: "", routingKey: "q" });
      await admin.set(`${prefix}unacked_mutex`, "somebody", "PX", 60_000);
      expect(await other.restoreOverdue()).toBe(0);
      await admin.del(`${prefix}unacked_mutex`);
      const restored = await Promise.all([other.restoreOverdue(), transport.restoreOverdue()]);
      expect(restored[0] + restored[1]).toBe(4);
      expect(await admin.exists(`${prefix}unacked`, `${prefix}unacked_index`, `${prefix}unacked_mutex`)).toBe(0);
      expect(await admin.lindex(`${prefix}q`, 1)).toContain('"big": 12345678901234567890, "redelivered": true');
      const got = await (await consuming(transport, ["q"])).waitFor(4);
      expect(got.map((delivery) => `${bodyText(delivery)}:${delivery.info.redelivered}`)).toEqual([
        "a:true",
        "b:true",
        "c:true",
        "ready:false",
      ]);
    });

    test("a restored message finds its queue by its exchange, and is never dropped when no binding is left", async () => {
      const { transport, prefix } = await start({ transportOptions: { visibility_timeout: 0.5 } });
      const record = (exchange: string) =>
        `[{"body": "eA==", "headers": {}, "properties": {"body_encoding": "base64", "delivery_tag": "t"}}, "${exchange}", "a.b"]`;
      await admin.sadd(`${prefix}_kombu.binding.topics`, ["a.*", "^a\\.[^\\.]+$", "mine"].join(SEP));
      for (const exchange of ["topics", "gone"]) {
        await admin.hset(`${prefix}unacked`, exchange, record(exchange));
        await admin.zadd(`${prefix}unacked_index`, 1_000, exchange);
      }
      await transport.restoreOverdue();
      expect(await admin.llen(`${prefix}mine`)).toBe(1);
      expect(await admin.llen(`${prefix}a.b`)).toBe(1);
      expect(await admin.exists(`${prefix}unacked`)).toBe(0);
    });

    test("a message given to somebody else is lost to us, and settling it does nothing", async () => {
      const warnings: string[] = [];
      const log: Log = { ...silentLog, warn: (_fields, message) => void warnings.push(message ?? "") };
      const { transport, another, prefix } = await start({ log, transportOptions: { visibility_timeout: 0.6 } });
      await transport.publish(text("x"), { exchange: "", routingKey: "q" });
      const inbox = await consuming(transport, ["q"], 1);
      const [delivery] = await inbox.waitFor(1);
      // As if this process had stood still for longer than the timeout.
      await admin.zadd(`${prefix}unacked_index`, 1_000, Object.keys((await unackedRecords(prefix)).records)[0] ?? "");
      const other = await another();
      await other.connect();
      const theirs = await consuming(other, ["q"]);
      await inbox.consumer.cancel();
      await until(() => theirs.got.length === 1, "the other consumer");
      await until(() => delivery?.lost === true, "the first to notice");
      expect(warnings.some((warning) => warning.includes("outlived"))).toBe(true);
      delivery?.ack();
      await transport.flush();
      expect(await admin.hlen(`${prefix}unacked`)).toBe(1);
      theirs.got[0]?.ack();
      await other.flush();
      expect(await admin.exists(`${prefix}unacked`)).toBe(0);
    });

    test("a hundred thousand held messages are renewed and given back", async () => {
      const count = 100_000;
      const { transport, prefix } = await start();
      const body = text("x");
      for (let i = 0; i < count; i += 10_000) {
        await Promise.all(
          Array.from({ length: 10_000 }, () => transport.publish(body, { exchange: "", routingKey: "q" })),
        );
      }
      let got = 0;
      await transport.consume(["q"], { prefetch: 0 }, () => {
        got += 1;
      });
      await until(() => got === count, "all of them", 30_000);
      expect(transport.heldCount).toBe(count);
      expect(await admin.zcard(`${prefix}unacked_index`)).toBe(count);
      await transport.close();
      expect(await admin.llen(`${prefix}q`)).toBe(count);
      expect(await admin.exists(`${prefix}unacked`)).toBe(0);
    }, 240_000);
  });

  describe("losing the connection", () => {
    test("held deliveries stay valid: no second delivery, and the ack counts", async () => {
      const { transport, prefix, cutConnection } = await start();
      await transport.publish(text("x"), { exchange: "", routingKey: "q" });
      const inbox = await consuming(transport, ["q"]);
      const [delivery] = await inbox.waitFor(1);
      await cutConnection();
      await until(() => !transport.connected, "the loss");
      delivery?.ack();
      await transport.flush();
      expect(transport.connected).toBe(true);
      expect(await admin.keys(`${prefix}*`)).toEqual([]);
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(1);
    });

    test("requeues asked for meanwhile happen once", async () => {
      const { transport, cutConnection } = await start();
      await transport.publish(text("x"), { exchange: "", routingKey: "q" });
      const inbox = await consuming(transport, ["q"], 1);
      const [delivery] = await inbox.waitFor(1);
      await cutConnection();
      delivery?.reject({ requeue: true });
      const again = (await inbox.waitFor(2))[1];
      expect(again?.info.redelivered).toBe(true);
      again?.ack();
      await roundTrip(transport);
      expect(inbox.got).toHaveLength(2);
    });

    test("messages come through many cuts, each at least once and hardly twice", async () => {
      const { transport, another, cutConnection, prefix } = await start();
      const other = await another();
      await other.connect();
      const count = 2_000;
      const inbox = new Inbox();
      inbox.onEach = (delivery) => delivery.ack();
      inbox.consumer = await transport.consume(["q"], { prefetch: 50 }, inbox.take);
      const sent = (async () => {
        for (let i = 0; i < count; i += 20) {
          await Promise.all(
            Array.from({ length: 20 }, (_, at) => other.publish(text(`${i + at}`), { exchange: "", routingKey: "q" })),
          );
        }
      })();
      for (let i = 0; i < 5; i++) {
        await until(() => inbox.got.length > (i * count) / 6, "progress");
        await cutConnection();
      }
      await sent;
      await until(() => new Set(inbox.got.map(bodyText)).size === count, "every message");
      expect(inbox.got).toHaveLength(count);
      await transport.flush();
      await until(
        async () => (await admin.exists(`${prefix}q`, `${prefix}unacked`, `${prefix}unacked_index`)) === 0,
        "a drained broker",
      );
    });

    test("declared queues and subscriptions are there again", async () => {
      const { transport, another, cutConnection, prefix } = await start();
      const other = await another();
      await other.connect();
      const exchange = { name: "news", type: "fanout" as const };
      await transport.declare([
        { name: "listener", exchange, routingKey: "" },
        { name: "q", exchange: { name: "e", type: "direct" }, routingKey: "k" },
      ]);
      await other.declare([{ name: "unused", exchange, routingKey: "" }]);
      const inbox = await consuming(transport, ["listener"]);
      await admin.del(`${prefix}_kombu.binding.e`, `${prefix}_kombu.binding_permanent.e`);
      await cutConnection();
      await until(async () => (await admin.exists(`${prefix}_kombu.binding.e`)) === 1, "the binding");
      await until(async () => {
        await other.publish(text("news"), { exchange: "news", routingKey: "" }, { mandatory: false });
        return inbox.got.length > 0;
      }, "the subscription");
    });
  });

  describe("fanout", () => {
    test("patterns in routing keys select, and wildcards in names do not", async () => {
      const { transport } = await start();
      const exchange = { name: "celeryev", type: "fanout" as const };
      await transport.declare([
        { name: "workers", exchange, routingKey: "worker.#" },
        { name: "all", exchange, routingKey: "#" },
        { name: "odd", exchange: { name: "a[b]*", type: "fanout" }, routingKey: "" },
      ]);
      const workers = await consuming(transport, ["workers"]);
      const all = await consuming(transport, ["all"]);
      const odd = await consuming(transport, ["odd"]);
      const send = (name: string, routingKey: string) =>
        transport.publish(text(`${name}/${routingKey}`), { exchange: name, routingKey }, { mandatory: false });
      await send("celeryev", "task.sent");
      await send("celeryev", "worker.online");
      await transport.declare([{ name: "ab", exchange: { name: "ab", type: "fanout" }, routingKey: "" }]);
      await send("ab", "");
      await send("a[b]*", "");
      expect((await all.waitFor(2)).map(bodyText)).toEqual(["celeryev/task.sent", "celeryev/worker.online"]);
      expect((await workers.waitFor(1)).map(bodyText)).toEqual(["celeryev/worker.online"]);
      expect((await odd.waitFor(1)).map(bodyText)).toEqual(["a[b]*/"]);
      const [event] = all.got;
      expect(event?.info).toMatchObject({ exchange: "celeryev", routingKey: "task.sent", queue: "all" });
      event?.ack();
      await all.consumer.cancel();
      await send("celeryev", "worker.offline");
      await workers.waitFor(2);
      expect(all.got).toHaveLength(2);
    });

    test("an auto-delete listener leaves no binding behind", async () => {
      const { transport, prefix } = await start();
      const exchange = { name: "celery.pidbox", type: "fanout" as const };
      await transport.declare([
        { name: "node", exchange, routingKey: "", autoDelete: true },
        plain("q", { exchange: { name: "q", type: "direct" } }),
      ]);
      await consuming(transport, ["node"]);
      expect(await admin.exists(`${prefix}_kombu.binding.celery.pidbox`)).toBe(1);
      await transport.close();
      expect((await admin.keys(`${prefix}*`)).sort()).toEqual([
        `${prefix}_kombu.binding.q`,
        `${prefix}_kombu.binding_permanent.q`,
      ]);
    });

    test("a broadcast needs no declaration of ours when its name says what it is", async () => {
      const { transport, another } = await start();
      const other = await another();
      await other.connect();
      await transport.declare([{ name: "node", exchange: { name: "celery.pidbox", type: "fanout" }, routingKey: "" }]);
      const inbox = await consuming(transport, ["node"]);
      await other.publish(text("ping"), { exchange: "celery.pidbox", routingKey: "" }, { mandatory: false });
      await inbox.waitFor(1);
    });

    test("a broadcast that somebody must hear is refused when nobody listens", async () => {
      const { transport } = await start();
      const to = { exchange: "celery.pidbox", routingKey: "" };
      const publish = () => transport.publish(text("hello"), to, { mandatory: true });
      await transport.declare([{ name: "node", exchange: { name: "celery.pidbox", type: "fanout" }, routingKey: "" }]);
      await expect(publish()).rejects.toMatchObject({ code: "UNROUTABLE" });
      await transport.publish(text("hello"), to);
      const inbox = await consuming(transport, ["node"]);
      await publish();
      await inbox.waitFor(1);
    });
  });

  test("unknown transport options are named, and bad ones refused", async () => {
    const transport = createRedisTransport({
      urls: url,
      transportOptions: { visibility_timeout: 5, visibilty_timeout: 6, max_connections: 3 },
    });
    expect(transport.unknownOptions).toEqual(["visibilty_timeout"]);
    await transport.close();
    for (const transportOptions of [
      { visibility_timeout: 0 },
      { priority_steps: "x" },
      { queue_order_strategy: "random" },
      { sep: 3 },
    ]) {
      expect(() => createRedisTransport({ urls: url, transportOptions })).toThrow(
        /visibility_timeout|priority_steps|strategy|sep/,
      );
    }
  });

  test("purge counts all steps", async () => {
    const { transport } = await start();
    const queue = plain("q");
    for (const priority of [0, 4, 9])
      await transport.publish({ ...text("x"), properties: { priority } }, toQueue(queue));
    expect(await transport.inspectQueue("q")).toEqual({ messages: 3, consumers: null });
    expect(await transport.purge("q")).toBe(3);
    expect(await transport.purge("q")).toBe(0);
  });
});
