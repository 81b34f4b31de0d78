import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createFilesystemTransport, type FilesystemOptions } from "./filesystem.ts";
import { bodyText, consuming, queueOf, roundTrip, testTransport, text, until } from "./transport.contract.ts";
import type { Transport } from "./transport.ts";

testTransport({
  name: "filesystem",
  can: { clash: false, knowsMissingQueues: false, order: true, redeliversAfterLoss: true, fanout: true, topic: true },
  async make() {
    const root = mkdtempSync(join(tmpdir(), "lovage-fs-"));
    const options: FilesystemOptions = {
      dataFolderIn: join(root, "data"),
      dataFolderOut: join(root, "data"),
      controlFolder: join(root, "control"),
    };
    const made: Transport[] = [];
    const make = () => {
      const transport = createFilesystemTransport(options);
      made.push(transport);
      return transport;
    };
    return {
      transport: make(),
      another: async () => make(),
      async dispose() {
        for (const transport of made) await transport.close();
        rmSync(root, { recursive: true, force: true });
      },
    };
  },
});

// ------------------------------------------------------------------------------------------- what only this transport does

const roots: string[] = [];
const opened: Transport[] = [];
afterEach(async () => {
  for (const transport of opened.splice(0)) await transport.close();
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

function newRoot(): string {
  const root = mkdtempSync(join(tmpdir(), "lovage-fs-"));
  roots.push(root);
  return root;
}

async function open(root: string, options: Partial<FilesystemOptions> = {}): Promise<Transport> {
  const transport = createFilesystemTransport({
    dataFolderIn: join(root, "data"),
    dataFolderOut: join(root, "data"),
    controlFolder: join(root, "control"),
    ...options,
  });
  opened.push(transport);
  await transport.connect();
  return transport;
}

const messages = (root: string) => readdirSync(join(root, "data")).filter((name) => name.endsWith(".msg"));
const claims = (root: string) => join(root, "data", ".lovage", "claims");
/** An envelope as Kombu writes it. */
const envelope = (body: string) =>
  JSON.stringify({
    body: Buffer.from(body).toString("base64"),
    "content-encoding": "utf-8",
    "content-type": "text/plain",
    headers: {},
    properties: { body_encoding: "base64", delivery_tag: "t", delivery_info: { exchange: "", routing_key: "q" } },
  });

describe("files that others wrote", () => {
  test("a file that Python has not finished is waited for, and others go on", async () => {
    const root = newRoot();
    const transport = await open(root);
    const inbox = await consuming(transport, ["q"], 2);
    inbox.onEach = (d) => d.ack();
    const whole = envelope("late");
    const python = openSync(join(root, "data", "1_a.q.msg"), "w");
    await until(() => messages(root).length === 0, "the claim of the empty file");
    writeFileSync(join(root, "data", "2_b.q.msg"), envelope("whole"));
    await inbox.waitFor(1);
    writeSync(python, whole.slice(0, 30));
    writeSync(python, whole.slice(30));
    closeSync(python);
    expect((await inbox.waitFor(2)).map(bodyText)).toEqual(["whole", "late"]);
  });

  test("garbage, an empty file left by a crash and one too long are delivered as refused", async () => {
    const root = newRoot();
    const transport = await open(root, { maxMessageBytes: 1000 });
    const old = Date.now() / 1000 - 60;
    for (const [name, content] of [
      ["1_a.q.msg", "no json"],
      ["2_b.q.msg", ""],
      ["3_c.q.msg", envelope("x".repeat(2000))],
      ["4_d.q.msg", "[1]"],
    ] as const) {
      writeFileSync(join(root, "data", name), content);
      utimesSync(join(root, "data", name), old, old);
    }
    const inbox = await consuming(transport, ["q"]);
    const got = await inbox.waitFor(4);
    expect(got.map((d) => typeof d.message.refused)).toEqual(["string", "string", "string", "string"]);
    expect(got[2]?.message.refused).toMatch(/at most 1000/);
    for (const delivery of got) delivery.reject({ requeue: false });
    await transport.flush();
    expect(messages(root)).toEqual([]);
  });

  test.runIf(process.platform !== "win32")(
    "what is no regular file is delivered as refused and never read, and its place is clean afterwards",
    async () => {
      const root = newRoot();
      const transport = await open(root);
      const data = join(root, "data");
      execFileSync("mkfifo", [join(data, "1_a.q.msg")]);
      symlinkSync("/dev/zero", join(data, "2_b.q.msg"));
      symlinkSync(join(root, "nowhere"), join(data, "3_c.q.msg"));
      mkdirSync(join(data, "4_d.q.msg"));
      const inbox = await consuming(transport, ["q"]);
      const got = await inbox.waitFor(4);
      expect(got.map((d) => typeof d.message.refused)).toEqual(["string", "string", "string", "string"]);
      for (const delivery of got) delivery.reject({ requeue: false });
      await transport.flush();
      expect(messages(root)).toEqual([]);
      expect(readdirSync(claims(root)).flatMap((owner) => readdirSync(join(claims(root), owner)))).toEqual([]);
    },
  );

  test("a file is read whose watch event never came", async () => {
    const root = newRoot();
    const transport = await open(root, { pollingInterval: 0.02 });
    const inbox = await consuming(transport, ["q"]);
    renameSync(join(root, "data"), join(root, "moved")); // the watch is on the old folder now
    await until(() => existsSync(claims(root)), "the folders to be made again", 8_000);
    writeFileSync(join(root, "data", "1_a.q.msg"), envelope("new folder"));
    expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["new folder"]);
  }, 15_000);
});

describe("files that we write", () => {
  test("appear whole and under Kombu's name, and nothing else lies between them", async () => {
    const root = newRoot();
    const transport = await open(root);
    await transport.publish(text("x"), { exchange: "", routingKey: "q.with.dots" });
    const [name] = messages(root);
    expect(name).toMatch(/^\d+_[0-9a-f-]{36}\.q\.with\.dots\.msg$/);
    const written = JSON.parse(readFileSync(join(root, "data", name ?? ""), "utf8"));
    expect(written.properties.body_encoding).toBe("base64");
    expect(readdirSync(join(root, "data", ".lovage", "writing"))).toEqual([]);
  });

  test("unsafe names and too long messages are refused", async () => {
    const root = newRoot();
    const transport = await open(root, { maxMessageBytes: 1000 });
    for (const queue of ["../x", "a/b", "nul\0"]) {
      await expect(transport.publish(text("x"), { exchange: "", routingKey: queue })).rejects.toThrow(
        /cannot be named/,
      );
      await expect(transport.declare([queueOf({ name: queue })])).rejects.toThrow(/cannot be named/);
    }
    await expect(transport.publish(text("x"), { exchange: "../e", routingKey: "k" })).rejects.toThrow(
      /cannot be named/,
    );
    const long = transport.publish(text("x".repeat(1000)), { exchange: "", routingKey: "q" });
    await expect(long).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    const name = transport.publish(text("x"), { exchange: "", routingKey: "n".repeat(250) });
    await expect(name).rejects.toMatchObject({ code: "PUBLISH", retryable: false });
    expect(messages(root)).toEqual([]);
  });

  test("a pidbox exchange is fanout though only others declared it", async () => {
    const root = newRoot();
    const transport = await open(root);
    mkdirSync(join(root, "control"), { recursive: true });
    writeFileSync(join(root, "control", "celery.pidbox.exchange"), '[["", "", "a.pidbox"], ["", "", "b.pidbox"]]');
    await transport.publish(text("ping"), { exchange: "celery.pidbox", routingKey: "anything" });
    expect(
      messages(root)
        .map((name) => name.split(".")[1])
        .sort(),
    ).toEqual(["a", "b"]);
  });

  test("settled messages are kept when processed ones are to be stored", async () => {
    const root = newRoot();
    const processedFolder = join(root, "processed");
    const transport = await open(root, { storeProcessed: true, processedFolder });
    await transport.publish(text("x"), { exchange: "", routingKey: "q" });
    const inbox = await consuming(transport, ["q"]);
    (await inbox.waitFor(1))[0]?.ack();
    await transport.flush();
    expect(readdirSync(processedFolder)).toHaveLength(1);
  });
});

describe("what a dead process held", () => {
  test("is given back, marked, and its own queues go with it", async () => {
    const root = newRoot();
    const dead = createFilesystemTransport({
      dataFolderIn: join(root, "data"),
      dataFolderOut: join(root, "data"),
      controlFolder: join(root, "control"),
    });
    await dead.connect();
    await dead.declare([queueOf({ name: "reply", exclusive: true, autoDelete: true })]);
    const held = await consuming(dead, ["q", "reply"], 3);
    for (let i = 0; i < 3; i++) await dead.publish(text(`${i}`), { exchange: "", routingKey: "q" });
    await held.waitFor(3);
    // the folder of a process that had our pid and started at another time
    const [owner] = readdirSync(claims(root));
    const parts = (owner ?? "").split("~");
    parts[4] = "1";
    const before = join(claims(root), owner ?? "");
    const after = join(claims(root), parts.join("~"));
    renameSync(before, after);
    writeFileSync(join(after, "1_a.q.msg.marked"), "half a mark");
    mkdirSync(join(after, "0_a.q.msg"));
    symlinkSync(join(root, "nowhere"), join(after, "0_b.q.msg"));

    const living = await open(root);
    const inbox = await consuming(living, ["q"]);
    const got = await inbox.waitFor(3);
    expect(got.map(bodyText)).toEqual(["0", "1", "2"]);
    expect(got.map((d) => d.info.redelivered)).toEqual([true, true, true]);
    expect(existsSync(after)).toBe(false);
    expect(readFileSync(join(root, "control", "reply.exchange"), "utf8")).toBe("[]");
    await dead.close();
  });

  test("comes back although something beside it cannot", async () => {
    const root = newRoot();
    const dead = await open(root);
    const [owner = ""] = readdirSync(claims(root));
    const parts = owner.split("~");
    parts[4] = "1";
    const folder = join(claims(root), parts.join("~"));
    mkdirSync(join(folder, "0_a.q.msg", "full"), { recursive: true });
    writeFileSync(join(folder, "1_b.q.msg"), envelope("behind it"));

    const inbox = await consuming(await open(root), ["q"]);
    expect((await inbox.waitFor(1)).map(bodyText)).toEqual(["behind it"]);
    await dead.close();
  });

  test("stays with a process that lives", async () => {
    const root = newRoot();
    const first = await open(root);
    await first.publish(text("x"), { exchange: "", routingKey: "q" });
    await (await consuming(first, ["q"])).waitFor(1);
    const other = await open(root);
    const inbox = await consuming(other, ["q"]);
    await roundTrip(other);
    expect(inbox.got).toHaveLength(0);
    await first.close();
    expect((await inbox.waitFor(1)).map((d) => d.info.redelivered)).toEqual([true]);
  });
});

describe("bindings", () => {
  test("that another first binder wiped out come back", async () => {
    const root = newRoot();
    const transport = await open(root);
    const queue = queueOf({ name: "mine" });
    await transport.declare([queue]);
    writeFileSync(join(root, "control", "mine.exchange"), '[["python", "", "python"]]');
    const table = () => readFileSync(join(root, "control", "mine.exchange"), "utf8");
    await until(() => table() === '[["mine", "", "mine"], ["python", "", "python"]]', "the binding");
  });

  test("of an exclusive auto-delete queue go with its consumer, those of others stay", async () => {
    const root = newRoot();
    const transport = await open(root);
    await transport.declare([
      queueOf({ name: "own", exclusive: true, autoDelete: true }),
      queueOf({ name: "shared", autoDelete: true }),
    ]);
    const inbox = await consuming(transport, ["own", "shared"]);
    await inbox.consumer.cancel();
    const table = (name: string) => readFileSync(join(root, "control", `${name}.exchange`), "utf8");
    expect([table("own"), table("shared")]).toEqual(["[]", '[["shared", "", "shared"]]']);
  });
});

test("4,000 files in the folder are consumed by two, once each and in order, without a listing for each", async () => {
  const root = newRoot();
  const [a, b] = [await open(root), await open(root)];
  const total = 4_000;
  for (let i = 0; i < total; i++) {
    const stamp = String(1_000_000 + i);
    writeFileSync(join(root, "data", `${stamp}_x.${i % 10 === 9 ? "other" : "q"}.msg`), envelope(stamp));
  }
  const began = performance.now();
  const inboxes = [await consuming(a, ["q", "other"], 50), await consuming(b, ["q"], 50)];
  for (const inbox of inboxes) {
    inbox.onEach = (d) => d.ack();
    for (const delivery of inbox.got) delivery.ack();
  }
  const sum = () => inboxes.reduce((all, inbox) => all + inbox.got.length, 0);
  await until(
    () => sum() >= total,
    () => `all messages; ${sum()} came`,
    9_000,
  );
  const bodies = inboxes.flatMap((inbox) => inbox.got.map(bodyText));
  expect(new Set(bodies).size).toBe(total);
  expect(bodies).toHaveLength(total);
  for (const inbox of inboxes) {
    const inOrder = inbox.got.filter((d) => d.info.queue === "q").map(bodyText);
    expect(inOrder).toEqual([...inOrder].sort());
  }
  expect(performance.now() - began).toBeLessThan(9_000);
}, 30_000);
