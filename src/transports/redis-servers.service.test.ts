/** The Redis transport against servers of its own: crashes, TLS, sockets, access rules, Sentinel, a full disk of memory. */
import { execFileSync, spawn } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import { findProgram } from "../testing/find-program.ts";
import { packageRoot } from "../testing/fixture-files.ts";
import { PeerProcess } from "../testing/peer-process.ts";
import { freePort, loopback } from "../testing/ports.ts";
import { type RedisServer, type RedisServerOptions, startRedis } from "../testing/redis-server.ts";
import { tcpProxy } from "../testing/tcp-proxy.ts";
import { type TempFolder, tempFolder } from "../testing/temp-folder.ts";
import { ConnectionRefused, PublishError } from "./errors.ts";
import { createRedisTransport, type RedisTransport, type RedisTransportOptions } from "./redis.ts";
import { bodyText, consuming, roundTrip, text, until, within } from "./transport.contract.ts";

const hasServer = findProgram("redis-server") !== undefined;
if (!hasServer && process.env.CI === "true") throw new TypeError("redis-server is not installed");
const toQ = { exchange: "", routingKey: "q" };

describe.skipIf(!hasServer)("with servers of its own", () => {
  const cleanUps: (() => Promise<unknown> | unknown)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  }, 90_000);

  async function server(options: RedisServerOptions = {}): Promise<RedisServer> {
    const redis = await startRedis(options);
    cleanUps.push(() => redis[Symbol.asyncDispose]());
    return redis;
  }
  async function folder(): Promise<TempFolder> {
    const temp = await tempFolder("redis");
    cleanUps.push(() => temp[Symbol.asyncDispose]());
    return temp;
  }
  function adminOf(url: string): Redis {
    const admin = new Redis(url, { maxRetriesPerRequest: 3 });
    admin.on("error", () => undefined);
    cleanUps.push(() => admin.disconnect());
    return admin;
  }
  function transportOf(options: RedisTransportOptions): RedisTransport {
    const transport = createRedisTransport(options);
    cleanUps.push(() => transport.close());
    return transport;
  }
  async function connected(options: RedisTransportOptions): Promise<RedisTransport> {
    const transport = transportOf(options);
    await within(transport.connect(), "connect");
    return transport;
  }

  test("a restart of the server loses neither held nor waiting messages, and all goes on", async () => {
    const redis = await server({ persist: true });
    const transport = await connected({ urls: redis.url });
    await transport.publish(text("held"), toQ);
    const inbox = await consuming(transport, ["q"], 1);
    const [held] = await inbox.waitFor(1);
    await transport.publish(text("waiting"), toQ);
    await redis.stop("SIGKILL");
    await until(() => !transport.connected, "the loss");
    const meanwhile = transport.publish(text("meanwhile"), toQ);
    await redis.start();
    await within(meanwhile, "the publish");
    expect(held?.lost).toBe(false);
    inbox.onEach = (delivery) => delivery.ack();
    held?.ack();
    expect((await inbox.waitFor(3)).map(bodyText)).toEqual(["held", "waiting", "meanwhile"]);
    await transport.flush();
    expect(await adminOf(redis.url).exists("unacked", "unacked_index", "q")).toBe(0);
  }, 90_000);

  test("a server that forgot everything: held deliveries are lost, the rest goes on", async () => {
    const redis = await server();
    const transport = await connected({ urls: redis.url });
    await transport.publish(text("held"), toQ);
    const inbox = await consuming(transport, ["q"], 1);
    const [held] = await inbox.waitFor(1);
    await redis.stop("SIGKILL");
    await redis.start();
    await until(() => held?.lost === true, "the held delivery to be lost");
    held?.ack();
    await transport.publish(text("new"), toQ);
    expect(bodyText((await inbox.waitFor(2))[1])).toBe("new");
  }, 90_000);

  test("a connection that dies without a word is noticed by publisher and by idle consumer", async () => {
    const redis = await server();
    const proxy = await tcpProxy({ target: redis.url });
    cleanUps.push(() => proxy[Symbol.asyncDispose]());
    const direct = await connected({ urls: redis.url });
    const transportOptions = { socket_timeout: 1, health_check_interval: 0.4 };
    const transport = await connected({ urls: proxy.url, transportOptions });
    const inbox = await consuming(transport, ["q"]);
    await roundTrip(transport);
    proxy.stall();
    const sent = transport.publish(text("through"), { exchange: "", routingKey: "elsewhere" });
    await until(() => !transport.connected, "the silence to be noticed");
    proxy.resume();
    await within(sent, "the publish");
    await direct.publish(text("hello"), toQ);
    expect(bodyText((await inbox.waitFor(1))[0])).toBe("hello");
  }, 90_000);

  test("a take whose answer was lost on the way is read again", async () => {
    const redis = await server();
    const proxy = await tcpProxy({ target: redis.url });
    cleanUps.push(() => proxy[Symbol.asyncDispose]());
    const admin = adminOf(redis.url);
    const direct = await connected({ urls: redis.url });
    const transport = await connected({ urls: proxy.url, transportOptions: { socket_timeout: 1 } });
    const inbox = await consuming(transport, ["q"], 2);
    await roundTrip(transport);
    // The server does the take, but its answer meets a silent network.
    await admin.client("PAUSE", 400, "WRITE");
    await transport.publish(text("1"), { exchange: "", routingKey: "warm" }).catch(() => undefined);
    const pushed = Promise.all([direct.publish(text("a"), toQ), direct.publish(text("b"), toQ)]);
    await pushed;
    inbox.onEach = (delivery) => delivery.ack();
    await inbox.waitFor(2);
    for (let round = 0; round < 5; round++) {
      const before = inbox.got.length;
      const more = Array.from({ length: 200 }, (_, i) => direct.publish(text(`${round}-${i}`), toQ));
      proxy.cut();
      await Promise.all(more);
      proxy.cut();
      await until(() => inbox.got.length >= before + 200, "all of this round");
    }
    expect(new Set(inbox.got.map(bodyText)).size).toBe(1_002);
    expect(inbox.got).toHaveLength(1_002);
    await transport.flush();
    expect(await admin.exists("unacked", "q")).toBe(0);
  }, 90_000);

  test("a process killed with messages in hand loses none", async () => {
    const redis = await server();
    const watch = adminOf(redis.url);
    const built = await compiled();
    const count = 300;
    const publisher = await connected({ urls: redis.url });
    await Promise.all(Array.from({ length: count }, (_, i) => publisher.publish(text(`${i}`), toQ)));
    const script = built.join("holder.mjs");
    writeFileSync(
      script,
      `import { createRedisTransport } from ${JSON.stringify(built.join("src/transports/redis.js"))};
       const transport = createRedisTransport({ urls: ${JSON.stringify(redis.url)}, transportOptions: { visibility_timeout: 1, client_name: "holder" } });
       await transport.connect();
       let kept = 0;
       let got = 0;
       await transport.consume(["q"], { prefetch: 40 }, (delivery) => {
         got += 1;
         if (got % 2) setTimeout(() => delivery.ack(), 1);
         else if (++kept === 40) console.log("full");
       });`,
    );
    for (let i = 0; i < 2; i++) {
      const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      cleanUps.push(() => child.kill("SIGKILL"));
      await within(new Promise((resolve) => child.stdout.once("data", resolve)), "forty held messages");
      child.kill("SIGKILL");
      await ended;
      // What it had written last is still being worked off.
      await until(async () => !String(await watch.client("LIST")).includes("lovage:holder"), "its connections to end");
    }
    const settledBefore = count - (await remaining());
    const transport = await connected({
      urls: redis.url,
      transportOptions: { visibility_timeout: 1, unacked_restore_interval: 0.3 },
    });
    const inbox = await consuming(transport, ["q"]);
    inbox.onEach = (delivery) => delivery.ack();
    await until(async () => (await remaining()) === 0, "all settled", 40_000);
    expect(new Set(inbox.got.map(bodyText)).size).toBe(count - settledBefore);
    expect(inbox.got.filter((delivery) => delivery.info.redelivered).length).toBeGreaterThanOrEqual(40);

    async function remaining(): Promise<number> {
      const admin = adminOf(redis.url);
      const lengths = await admin.multi().llen("q").hlen("unacked").exec();
      admin.disconnect();
      return (lengths ?? []).reduce((sum, [, length]) => sum + Number(length), 0);
    }
  }, 120_000);

  test("a process ends by itself after close", async () => {
    const redis = await server();
    const built = await compiled();
    const script = built.join("ends.mjs");
    writeFileSync(
      script,
      `import { createRedisTransport } from ${JSON.stringify(built.join("src/transports/redis.js"))};
       const transport = createRedisTransport({ urls: ${JSON.stringify(redis.url)} });
       await transport.connect();
       await transport.consume(["q"], { prefetch: 1 }, () => undefined);
       await transport.publish({ body: new Uint8Array(1), headers: {}, properties: {} }, { exchange: "", routingKey: "q" });
       await transport.close();`,
    );
    const begun = performance.now();
    execFileSync(process.execPath, [script], { timeout: 40_000 });
    // Nothing of ours waits for so long.
    expect(performance.now() - begun).toBeLessThan(20_000);
  }, 120_000);

  test("an idle consumer is silent and wakes at once, a full one asks for nothing", async () => {
    const redis = await server();
    const admin = adminOf(redis.url);
    const takes = async () =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(await admin.info("commandstats")))?.[1] ?? 0);
    const transport = await connected({ urls: redis.url });
    const other = await connected({ urls: redis.url });
    const inbox = await consuming(transport, ["q"], 1);
    await roundTrip(transport);
    expect(transport.waitingMode).toBe("tracking");
    const before = await takes();
    const begun = performance.now();
    await until(() => performance.now() - begun > 500, "an idle while");
    // The end of the round trip may still be noticed; polling would be many.
    expect((await takes()) - before).toBeLessThanOrEqual(2);
    const sent = performance.now();
    await other.publish({ ...text("x"), properties: { priority: 9 } }, toQ);
    await inbox.waitFor(1);
    // The housekeeping would wake it too, every ten seconds.
    expect(performance.now() - sent).toBeLessThan(5_000);
    const full = await takes();
    for (let i = 0; i < 20; i++) await other.publish(text("more"), toQ);
    await transport.inspectQueue("q");
    expect((await takes()) - full).toBeLessThanOrEqual(1);
    expect(inbox.got).toHaveLength(1);
    inbox.onEach = (delivery) => delivery.ack();
    inbox.got[0]?.ack();
    await inbox.waitFor(21);
  });

  describe("access", () => {
    test("a wrong password refuses the connection and is never told", async () => {
      const redis = await server({ args: ["--requirepass", "right"] });
      const messages: string[] = [];
      const keep = (fields: object, message?: string) => void messages.push(JSON.stringify(fields) + String(message));
      const log: Log = { ...silentLog, warn: keep, error: keep, info: keep, debug: keep };
      // In another database SELECT is refused too, for want of the login.
      const transport = transportOf({ urls: redis.database(1).replace("//", "//:hunter2@"), log });
      const error: unknown = await within(
        transport.connect().catch((e: unknown) => e),
        "the refusal",
      );
      expect(error).toBeInstanceOf(ConnectionRefused);
      expect(String(error)).toContain("WRONGPASS");
      expect(`${String(error)}${JSON.stringify(error)}${messages.join()}`).not.toContain("hunter2");
      const without = transportOf({ urls: redis.url });
      await expect(without.connect()).rejects.toBeInstanceOf(ConnectionRefused);
      await connected({ urls: redis.url.replace("//", "//:right@") });
    });

    test("a database that does not exist refuses the connection", async () => {
      const redis = await server();
      await expect(transportOf({ urls: redis.database(99) }).connect()).rejects.toBeInstanceOf(ConnectionRefused);
    });

    test("an ACL user works; without CLIENT TRACKING consumers wait with BLMOVE, and nothing is lost or reordered", async () => {
      const redis = await server();
      const admin = adminOf(redis.url);
      await admin.call("ACL", "SETUSER", "work", "on", ">p/w@#", "~*", "&*", "+@all", "-client|tracking");
      const urls = redis.url.replace("//", `//work:${encodeURIComponent("p/w@#")}@`);
      const transport = await connected({ urls });
      const other = await connected({ urls });
      const publisher = await connected({ urls: redis.url });
      const a = await consuming(transport, ["q", "r", "s"], 5);
      const b = await consuming(other, ["q", "x", "y", "z"], 5);
      const order: string[] = [];
      a.onEach = b.onEach = (delivery) => {
        order.push(bodyText(delivery));
        delivery.ack();
      };
      for (let i = 0; i < 30; i++) {
        const priority = i % 2 ? 0 : 9;
        await publisher.publish(
          { ...text(`${i}`), properties: { priority } },
          { exchange: "", routingKey: "qrs"[i % 3] ?? "q" },
        );
        await until(() => order.length === i + 1, `message ${i}`);
      }
      expect(transport.waitingMode).toBe("blocking");
      expect(order).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`));
      // Idle means idle: a BLMOVE now and then, nothing else.
      await admin.config("RESETSTAT");
      const begun = performance.now();
      await until(() => performance.now() - begun > 1_000, "an idle second");
      const calls = Number(/cmdstat_blmove:calls=(\d+)/.exec(String(await admin.info("commandstats")))?.[1] ?? 0);
      expect(calls).toBeLessThan(30);
      expect(await admin.exists("unacked", "q", "r", "s")).toBe(0);
    }, 90_000);
  });

  test("a unix socket serves", async () => {
    const temp = await folder();
    const redis = await server({ args: ["--unixsocket", temp.join("redis.sock")] });
    const transport = await connected({ urls: `redis+socket://${temp.join("redis.sock")}?virtual_host=3` });
    await roundTrip(transport);
    await transport.publish(text("x"), toQ);
    expect(await adminOf(redis.database(3)).llen("q")).toBe(1);
  });

  test("TLS verifies the server unless told not to", async () => {
    const temp = await folder();
    const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "ignore", cwd: temp.path });
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    openssl(
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      "key.pem",
      "-out",
      "cert.pem",
      "-days",
      "2",
      ...subject,
    );
    const port = await freePort();
    const files = ["--tls-cert-file", temp.join("cert.pem"), "--tls-key-file", temp.join("key.pem")];
    await server({
      args: [
        "--tls-port",
        String(port),
        ...files,
        "--tls-ca-cert-file",
        temp.join("cert.pem"),
        "--tls-auth-clients",
        "optional",
      ],
    });
    const base = `rediss://${loopback}:${port}/0`;
    const errors: string[] = [];
    const stranger = transportOf({ urls: base, events: { onRetry: (error) => void errors.push(error.message) } });
    const giveUp = new AbortController();
    const connecting = stranger.connect(giveUp.signal).catch((error: unknown) => error);
    await until(() => errors.length > 0, "a refused certificate");
    expect(errors[0]).toMatch(/certificate/);
    giveUp.abort(new Error("enough"));
    await connecting;
    await roundTrip(await connected({ urls: `${base}?ssl_cert_reqs=required&ssl_ca_certs=${temp.join("cert.pem")}` }));
    await roundTrip(await connected({ urls: `${base}?ssl_cert_reqs=CERT_NONE&ssl_min_version=771` }));
    const tls = {
      ssl_ca_certs: temp.join("cert.pem"),
      ssl_certfile: temp.join("cert.pem"),
      ssl_keyfile: temp.join("key.pem"),
    };
    await roundTrip(await connected({ urls: `redis://${loopback}:${port}/0`, tls }));
    expect(() => transportOf({ urls: `${base}?ssl_cert_reqs=maybe` })).toThrow(ImproperlyConfigured);
  }, 90_000);

  test("the next URL serves when the first does not", async () => {
    const redis = await server();
    const tried: string[] = [];
    const transport = await connected({
      urls: `redis://${loopback}:${await freePort()}/0;${redis.database(2)}`,
      events: { onConnected: (url) => void tried.push(url) },
    });
    expect(tried).toEqual([redis.database(2)]);
    await roundTrip(transport);
  });

  test("a server out of memory refuses publishes with an error, and is still consumed", async () => {
    const redis = await server();
    const transport = await connected({ urls: redis.url });
    for (let i = 0; i < 20; i++) await transport.publish({ ...text(""), body: new Uint8Array(10_000) }, toQ);
    const admin = adminOf(redis.url);
    await admin.config("SET", "maxmemory", "1000000");
    const refused: unknown = await transport.publish(text("no room"), toQ).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(PublishError);
    expect(refused).toMatchObject({ retryable: true });
    const inbox = await consuming(transport, ["q"], 5);
    inbox.onEach = (delivery) => delivery.ack();
    await inbox.waitFor(20);
    await transport.flush();
    await admin.config("SET", "maxmemory", "0");
    expect(await admin.exists("unacked", "q")).toBe(0);
  });

  test("Sentinel names the master, also the next one", async () => {
    const first = await server();
    const second = await server({
      args: ["--replicaof", `${loopback} ${first.port}`, "--repl-diskless-sync-delay", "0"],
    });
    const temp = await folder();
    const port = await freePort();
    writeFileSync(
      temp.join("sentinel.conf"),
      [
        `port ${port}`,
        `bind ${loopback}`,
        `dir ${temp.path}`,
        `sentinel monitor main ${loopback} ${first.port} 1`,
        "sentinel down-after-milliseconds main 500",
        "sentinel failover-timeout main 3000",
      ].join("\n"),
    );
    const sentinel = await PeerProcess.start(findProgram("redis-server") ?? "redis-server", {
      name: "redis-sentinel",
      args: [temp.join("sentinel.conf"), "--sentinel"],
      cwd: temp.path,
    });
    cleanUps.push(() => sentinel.stop({ signal: "SIGKILL" }));
    const watch = adminOf(`redis://${loopback}:${port}`);
    await until(
      async () =>
        String(await watch.call("SENTINEL", "REPLICAS", "main").catch(() => "")).includes(String(second.port)),
      "the replica",
      40_000,
    );
    const replica = adminOf(second.url);
    await until(
      async () => String(await replica.info("replication")).includes("master_link_status:up"),
      "replication",
      40_000,
    );

    const transport = await connected({
      urls: `sentinel://${loopback}:1;sentinel://${loopback}:${port}/0`,
      transportOptions: { master_name: "main" },
    });
    await transport.publish(text("before"), toQ);
    await until(async () => (await replica.llen("q")) === 1, "the copy");
    const inbox = await consuming(transport, ["q"], 1);
    const [held] = await inbox.waitFor(1);
    await until(async () => (await replica.hlen("unacked")) === 1, "the copied record");
    await first.stop("SIGKILL");
    const after = transport.publish(text("after"), toQ);
    await within(after, "the publish to the new master", 60_000);
    expect(held?.lost).toBe(false);
    held?.ack();
    expect((await inbox.waitFor(2)).map(bodyText)).toEqual(["before", "after"]);
    await transport.flush();
    expect(await replica.hlen("unacked")).toBe(1);
  }, 120_000);

  /** The transport as plain JavaScript, for processes of their own. */
  async function compiled(): Promise<TempFolder> {
    const temp = await folder();
    const root = packageRoot();
    const config = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        noEmit: false,
        outDir: temp.path,
        rootDir: root,
        allowImportingTsExtensions: false,
        typeRoots: [join(root, "node_modules", "@types")],
      },
      include: [],
      files: [join(root, "src", "transports", "redis.ts")],
    };
    writeFileSync(temp.join("tsconfig.json"), JSON.stringify(config));
    writeFileSync(temp.join("package.json"), '{"type": "module"}');
    symlinkSync(join(root, "node_modules"), temp.join("node_modules"));
    execFileSync(process.execPath, [
      join(root, "node_modules", "typescript", "bin", "tsc"),
      "-p",
      temp.join("tsconfig.json"),
    ]);
    return temp;
  }
});
