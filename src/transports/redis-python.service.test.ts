/** The Redis transport beside Kombu itself: each reads, restores and fans out what the other wrote. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { testService } from "../testing/services.ts";
import { tcpProxy } from "../testing/tcp-proxy.ts";
import { createRedisTransport, type RedisTransport } from "./redis.ts";
import { bodyText, consuming, type Inbox, text, until } from "./transport.contract.ts";

const url = testService("LOVAGE_TEST_REDIS_URL") ?? "";
const python = testService("LOVAGE_TEST_PYTHON") ?? "";

/** One Kombu process: `act` then its arguments as JSON; it prints JSON lines. */
const KOMBU = `
import json, os, socket, sys, time, warnings
warnings.simplefilter("ignore")
from kombu import Connection, Consumer, Exchange, Producer, Queue
url, options, act, args = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
def say(**line):
    print(json.dumps(line), flush=True)
def queue_of(spec):
    ex = spec.get("exchange", "")
    exchange = Exchange(ex, type=spec.get("type", "direct")) if ex else Exchange("")
    return Queue(spec["name"], exchange, routing_key=spec.get("routing_key", spec["name"]), expires=spec.get("expires"), auto_delete=spec.get("auto_delete", False))
with Connection(url, transport_options=options) as connection:
    channel = connection.channel()
    queues = [queue_of(spec) for spec in args.get("queues", [])]
    for q in queues:
        q(channel).declare() if q.exchange.name else q(channel).queue_declare()
    if act == "publish":
        producer = Producer(channel)
        for i in range(args["count"]):
            producer.publish({"n": i}, exchange=args.get("exchange", ""), routing_key=args["routing_key"],
                             serializer="json", headers={"from": "python"}, priority=args.get("priority"))
        say(published=args["count"])
    elif act in ("consume", "hold"):
        seen = []
        def got(message):
            seen.append(message)
            say(body=bytes(message.body).decode() if not isinstance(message.body, str) else message.body,
                headers=message.headers, tag=message.delivery_tag,
                exchange=message.delivery_info.get("exchange"), routing_key=message.delivery_info.get("routing_key"),
                redelivered=message.delivery_info.get("redelivered", False), priority=message.properties.get("priority"))
            if act == "consume":
                message.ack()
        consumer = Consumer(channel, queues, on_message=got, accept=["json", "text/plain"])
        consumer.qos(prefetch_count=args.get("prefetch", 0))
        consumer.consume()
        say(ready=True)
        end = time.monotonic() + args.get("seconds", 30)
        while time.monotonic() < end and len(seen) < args.get("count", 1):
            try:
                connection.drain_events(timeout=0.2)
            except socket.timeout:
                pass
        say(done=len(seen))
        if act == "hold":
            os._exit(9)
`;

interface KombuLine {
  [key: string]: unknown;
}

describe.skipIf(url === "" || python === "")("beside Kombu", () => {
  let admin: Redis;
  const transports: RedisTransport[] = [];
  const children: ChildProcessWithoutNullStreams[] = [];
  const prefixes: string[] = [];

  beforeAll(() => {
    admin = new Redis(url);
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    await Promise.all(transports.splice(0).map((transport) => transport.close()));
    for (const prefix of prefixes.splice(0)) {
      const keys = await admin.keys(`${prefix}*`);
      if (keys.length > 0) await admin.del(...keys);
    }
  });
  afterAll(() => admin.disconnect());

  function fleet(options: Record<string, unknown> = {}) {
    const prefix = `${randomUUID()}:`;
    prefixes.push(prefix);
    const shared = { global_keyprefix: prefix, unacked_restore_throttle: 1, unacked_restore_interval: 0.3, ...options };
    return {
      prefix,
      async transport(serverUrl = url): Promise<RedisTransport> {
        const transport = createRedisTransport({ urls: serverUrl, transportOptions: shared });
        transports.push(transport);
        await transport.connect();
        return transport;
      },
      /** Starts Kombu; `lines` grows, `ended` tells the exit code. */
      kombu(act: string, args: object) {
        const child = spawn(python, ["-c", KOMBU, url, JSON.stringify(shared), act, JSON.stringify(args)]);
        children.push(child);
        const lines: KombuLine[] = [];
        let errors = "";
        child.stderr.on("data", (chunk) => {
          errors += String(chunk);
        });
        createInterface(child.stdout).on("line", (line) => lines.push(JSON.parse(line)));
        const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
        const messages = () => lines.filter((line) => "body" in line);
        return {
          lines,
          messages,
          child,
          ended,
          async ok(): Promise<KombuLine[]> {
            const code = await ended;
            if (code !== 0) throw new TypeError(`Kombu ended with ${code}: ${errors}`);
            return messages();
          },
          ready: () =>
            until(
              () => lines.some((line) => line.ready === true) || errors !== "",
              () => `Kombu: ${errors}`,
            ),
        };
      },
    };
  }

  test("Kombu consumes what we publish: body, headers, properties, priorities in order", async () => {
    const { transport, kombu, prefix } = fleet();
    const ours = await transport();
    for (const priority of [9, 0, 3]) {
      const message = { ...text(`p${priority} ✓`), headers: { n: 1, deep: { list: [1, null, "é"] } } };
      await ours.publish(
        { ...message, properties: { correlationId: "c", priority } },
        { exchange: "", routingKey: "q" },
      );
    }
    const got = await kombu("consume", { queues: [{ name: "q" }], count: 3 }).ok();
    expect(got.map((line) => line.body)).toEqual(["p0 ✓", "p3 ✓", "p9 ✓"]);
    expect(got[0]).toMatchObject({ headers: { n: 1, deep: { list: [1, null, "é"] } }, exchange: "", routing_key: "q" });
    expect(await admin.exists(`${prefix}unacked`, `${prefix}unacked_index`, `${prefix}q`)).toBe(0);
  });

  test("we consume what Kombu publishes, through direct and topic exchanges it bound", async () => {
    const { transport, kombu, prefix } = fleet();
    const queues = [
      { name: "direct-q", exchange: "d", routing_key: "k" },
      { name: "topic-q", exchange: "t", type: "topic", routing_key: "a.#" },
    ];
    await kombu("publish", { queues, count: 2, exchange: "d", routing_key: "k", priority: 6 }).ok();
    await kombu("publish", { queues, count: 2, exchange: "t", routing_key: "a.b.c" }).ok();
    const ours = await transport();
    const inbox = await consuming(ours, ["direct-q", "topic-q"]);
    const got = await inbox.waitFor(4);
    expect(got.map((delivery) => `${delivery.info.queue} ${bodyText(delivery)}`).sort()).toEqual([
      'direct-q {"n": 0}',
      'direct-q {"n": 1}',
      'topic-q {"n": 0}',
      'topic-q {"n": 1}',
    ]);
    expect(got.every((delivery) => delivery.message.headers?.from === "python")).toBe(true);
    for (const delivery of got) delivery.ack();
    await ours.flush();
    expect(await admin.exists(`${prefix}unacked`)).toBe(0);
    await inbox.consumer.cancel();
    // And the other way round over the same bindings.
    await ours.publish(text("by us"), { exchange: "t", routingKey: "a.x" });
    expect((await kombu("consume", { queues, count: 1 }).ok()).map((line) => line.body)).toEqual(["by us"]);
  });

  test("both declare the very same binding members and deadlines", async () => {
    const specs = [
      { name: "plain", exchange: "e1", routing_key: "k" },
      { name: "sub", exchange: "e2", type: "topic", routing_key: "a-b.*.#.ü" },
      { name: "brief", exchange: "e3", routing_key: "r", expires: 60 },
      { name: "fan", exchange: "e4", type: "fanout", routing_key: "" },
    ];
    const theirs = fleet();
    await theirs.kombu("publish", { queues: specs, count: 0, routing_key: "x" }).ok();
    const mine = fleet();
    const ours = await mine.transport();
    await ours.declare(
      specs.map(({ name, exchange, type, routing_key, expires }) => ({
        name,
        exchange: { name: exchange, type: type === "topic" ? "topic" : type === "fanout" ? "fanout" : "direct" },
        routingKey: routing_key,
        ...(expires === undefined ? {} : { arguments: { "x-expires": expires * 1000 } }),
      })),
    );
    const dump = async (prefix: string) => {
      const found: Record<string, unknown> = {};
      for (const key of (await admin.keys(`${prefix}*`)).sort()) {
        const name = key.slice(prefix.length);
        found[name] =
          (await admin.type(key)) === "set" ? (await admin.smembers(key)).sort() : await admin.zrange(key, "0", "-1");
      }
      return found;
    };
    expect(await dump(mine.prefix)).toEqual(await dump(theirs.prefix));
  });

  test("fanout goes both ways, with patterns", async () => {
    const { transport, kombu } = fleet();
    const ours = await transport();
    const exchange = { name: "celeryev", type: "fanout" as const };
    await ours.declare([{ name: "mine", exchange, routingKey: "worker.#" }]);
    const inbox = await consuming(ours, ["mine"]);
    const peer = kombu("consume", {
      queues: [{ name: "theirs", exchange: "celeryev", type: "fanout", routing_key: "#" }],
      count: 1,
    });
    await peer.ready();
    await until(async () => {
      await ours.publish(text("hello"), { exchange: "celeryev", routingKey: "task.sent" }, { mandatory: false });
      return peer.messages().length > 0;
    }, "Kombu to hear us");
    const queues = [{ name: "theirs", exchange: "celeryev", type: "fanout", routing_key: "#" }];
    await kombu("publish", { queues, count: 1, exchange: "celeryev", routing_key: "task.sent" }).ok();
    await kombu("publish", { queues, count: 1, exchange: "celeryev", routing_key: "worker.online" }).ok();
    const [event] = await inbox.waitFor(1);
    expect(event?.info.routingKey).toBe("worker.online");
    expect(inbox.got).toHaveLength(1);
  });

  test("what a killed Kombu consumer held, we restore", async () => {
    // Long enough for Kombu to get all three before it gives back the first itself.
    const { transport, kombu, prefix } = fleet({ visibility_timeout: 3 });
    const queues = [{ name: "q", exchange: "d", routing_key: "k" }];
    await kombu("publish", { queues, count: 3, exchange: "d", routing_key: "k", priority: 3 }).ok();
    await kombu("hold", { queues, count: 3 }).ended;
    expect(await admin.hlen(`${prefix}unacked`)).toBe(3);
    const ours = await transport();
    const inbox = await consuming(ours, ["q"]);
    inbox.onEach = (delivery) => delivery.ack();
    const got = await inbox.waitFor(3);
    expect(got.map((delivery) => `${bodyText(delivery)} ${delivery.info.redelivered}`)).toEqual([
      '{"n": 0} true',
      '{"n": 1} true',
      '{"n": 2} true',
    ]);
    await ours.flush();
    expect(await admin.exists(`${prefix}unacked`, `${prefix}unacked_index`)).toBe(0);
  });

  test("what a killed consumer of ours held, Kombu restores to the queue it came from", async () => {
    const { transport, kombu, prefix } = fleet({ visibility_timeout: 1 });
    await using proxy = await tcpProxy({ target: url });
    const ours = await transport(proxy.url);
    const exchange = { name: "t", type: "topic" as const };
    await ours.declare([
      { name: "one", exchange, routingKey: "a.*" },
      { name: "two", exchange, routingKey: "#" },
    ]);
    await ours.publish({ ...text("x"), properties: { priority: 3 } }, { exchange: "t", routingKey: "a.b" });
    const inbox = await consuming(ours, ["one", "two"]);
    const got = await inbox.waitFor(2);
    got.find((delivery) => delivery.info.queue === "two")?.ack();
    await ours.flush();
    // As if our process had been gone for a while: it neither renews what it holds nor restores it.
    proxy.refuse();
    proxy.cut();
    await until(() => !ours.connected, "our connection to be lost");
    const tags = await admin.zrange(`${prefix}unacked_index`, "0", "-1");
    expect(tags).toHaveLength(1);
    await admin.zadd(`${prefix}unacked_index`, 1_000, tags[0] ?? "");
    const restored = await kombu("consume", { queues: [{ name: "one" }, { name: "two" }], count: 1 }).ok();
    expect(restored).toMatchObject([{ body: "x", redelivered: true, priority: 3, exchange: "t", routing_key: "a.b" }]);
    expect(await admin.exists(`${prefix}unacked`, `${prefix}one`, `${prefix}two`)).toBe(0);
  });

  test("held messages of ours are left alone by a Kombu that looks for overdue ones", async () => {
    const { transport, kombu } = fleet({ visibility_timeout: 2 });
    const ours = await transport();
    await ours.publish(text("long"), { exchange: "", routingKey: "q" });
    const inbox = await consuming(ours, ["q"], 1);
    await inbox.waitFor(1);
    const peer = kombu("consume", { queues: [{ name: "q" }], count: 1, seconds: 5 });
    expect(await peer.ok()).toEqual([]);
    expect(inbox.got[0]?.lost).toBe(false);
    inbox.got[0]?.ack();
    await ours.flush();
  });

  test("consumers of both kinds share a queue: blocked BRPOP, watched keys and BLMOVE", async () => {
    const { transport, kombu, prefix } = fleet();
    const user = `u${randomUUID().slice(0, 8)}`;
    await admin.call("ACL", "SETUSER", user, "on", ">pw", "~*", "&*", "+@all", "-client|tracking");
    try {
      const limited = url.replace("redis://", `redis://${user}:pw@`);
      const [watching, blocking, second, publisher] = [
        await transport(),
        await transport(limited),
        await transport(limited),
        await transport(),
      ];
      const least = 600;
      const inboxes: Inbox[] = [];
      for (const each of [watching, blocking, second]) {
        const inbox = await consuming(each, ["q"], 3);
        inbox.onEach = (delivery) => delivery.ack();
        inboxes.push(inbox);
      }
      const peers = [1, 2].map(() =>
        kombu("consume", { queues: [{ name: "q" }], count: 100_000, seconds: 60, prefetch: 3 }),
      );
      await Promise.all(peers.map((peer) => peer.ready()));
      await until(
        () => blocking.waitingMode === "blocking" && watching.waitingMode === "tracking",
        "both ways of waiting",
      );
      // And as long as one of Kombu's has had none, which a busy machine may keep from it.
      let count = 0;
      for (; count < least || peers.some((peer) => peer.messages().length === 0); count++) {
        if (count >= least) await new Promise((resolve) => setTimeout(resolve, 1));
        const i = count;
        await publisher.publish(
          { ...text(`${i}`), properties: { priority: i % 10 } },
          { exchange: "", routingKey: "q" },
        );
      }
      const seen = () => [
        ...inboxes.flatMap((inbox) => inbox.got.map(bodyText)),
        ...peers.flatMap((peer) => peer.messages().map((line) => String(line.body))),
      ];
      await until(
        () => seen().length >= count,
        () => `${count} messages, of which there are ${seen().length}`,
      );
      const bodies = seen();
      expect(bodies.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      expect(peers.every((peer) => peer.messages().length > 0)).toBe(true);
      await Promise.all([watching.flush(), blocking.flush(), second.flush()]);
      // Kombu says what it has got before it acknowledges.
      await until(async () => (await admin.exists(`${prefix}unacked`)) === 0, "all to be acknowledged");
    } finally {
      await admin.call("ACL", "DELUSER", user);
    }
  });

  test("a queue of ours with x-expires lives by Kombu's rules, and its sweep leaves ordinary bindings alone", async () => {
    const { transport, kombu, prefix } = fleet();
    const ours = await transport();
    await ours.declare([
      { name: "plain", exchange: { name: "e", type: "direct" }, routingKey: "k" },
      { name: "brief", exchange: { name: "e", type: "direct" }, routingKey: "k2", arguments: { "x-expires": 60_000 } },
      { name: "gone", exchange: { name: "f", type: "direct" }, routingKey: "k", arguments: { "x-expires": 60_000 } },
    ]);
    await admin.zadd(`${prefix}_kombu.binding_deadlines`, 1, "e", 1, "f");
    await kombu("consume", {
      queues: [{ name: "other", exchange: "g", routing_key: "x", expires: 60 }],
      seconds: 1,
    }).ok();
    expect(await admin.scard(`${prefix}_kombu.binding.e`)).toBe(2);
    expect(await admin.exists(`${prefix}_kombu.binding.f`)).toBe(0);

    await admin.zadd(`${prefix}_kombu.binding_deadlines`, 1, "g", 1, "e");
    await consuming(ours, ["brief"]);
    await until(async () => (await admin.exists(`${prefix}_kombu.binding.g`)) === 0, "our sweep");
    expect(Number(await admin.zscore(`${prefix}_kombu.binding_deadlines`, "e"))).toBeGreaterThan(Date.now());
  });
});
