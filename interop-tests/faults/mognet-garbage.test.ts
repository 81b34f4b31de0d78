/** Whatever lands on the queue or the control exchange: a Mognet worker of ours answers what it can, and goes on. */
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { connect } from "amqplib";
import { describe, expect, test, vi } from "vitest";
import { openSite, startWorker } from "../mognet/fleet.ts";
import { openPythonClient } from "../mognet/python-client.ts";
import { expectValues, ready, submitMany } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 180_000 });

const id = randomUUID();
const envelope = (payload: unknown, kind: unknown = "Request") =>
  JSON.stringify({ id: randomUUID(), kind, payload, priority: 5 });
const request = (fields: object) => envelope({ id: randomUUID(), name: "fixture.echo", args: [1], ...fields });

/** Bodies of every kind of wrong. */
const bodies: readonly (string | Buffer)[] = [
  "",
  "\u0000",
  "null",
  "1e999",
  "[]",
  "{}",
  '"text"',
  "{",
  "[".repeat(100_000),
  `{"id":"x","kind":"Request","payload":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}}`,
  `{"id":"x","kind":"Request","payload":{"id":"${id}","name":"fixture.echo","args":[${"[".repeat(50_000)}${"]".repeat(50_000)}]}}`,
  randomBytes(2_000),
  Buffer.from([0xff, 0xfe, 0x7b]),
  "x".repeat(2_000_000),
  `{"__proto__":{"polluted":1},"id":"x","kind":"Request","payload":{"__proto__":{"polluted":1},"name":"fixture.echo","args":[]}}`,
  envelope(null),
  envelope([]),
  envelope("text"),
  envelope({}, "Surprise"),
  envelope({}, 1),
  envelope({ id }, "Revoke"),
  envelope({ id: 1 }, "Revoke"),
  envelope({ id, name: "Status" }, "Query"),
  envelope({ id, name: ["Status"] }, "Query"),
  envelope({ id, kind: "StatusResponse", node_id: "x", payload: { running_request_ids: [1] } }, "StatusResponse"),
  request({ id: "not a uuid" }),
  request({ id: 7 }),
  request({ id: `${id}\u0000` }),
  request({ id: "*" }),
  request({ name: "" }),
  request({ name: "__proto__" }),
  request({ name: "constructor" }),
  request({ name: "x".repeat(100_000) }),
  request({ args: { a: 1 } }),
  request({ args: "x" }),
  request({ kwargs: [] }),
  request({ kwargs: { __proto__: 1, constructor: 2 } }),
  request({ stack: ["x"] }),
  request({ stack: Array.from({ length: 5_000 }, () => randomUUID()) }),
  request({ metadata: 1 }),
  request({ deadline: {} }),
  request({ deadline: "P99999999999Y" }),
  request({ deadline: -1e300 }),
  request({ priority: 1e300 }),
  request({ priority: "high" }),
  request({ queue_name: {} }),
  request({ kwargs_repr: 1 }),
];

const properties = [
  {},
  { contentType: "application/x-python-serialize", contentEncoding: "binary" },
  { contentEncoding: "gzip", headers: { compression: "application/x-gzip" } },
  { replyTo: "nowhere", correlationId: "x".repeat(200), priority: 255, expiration: "60000" },
  { headers: { id: 1, task: "fixture.add", "x-death": "text", nested: { a: [1, { b: null }] } } },
];

describe.skipIf(!ready)("a Mognet worker", () => {
  test("lives on 500 messages of garbage among good ones, on its queue and on the control exchange", async () => {
    await using site = await openSite();
    await using client = await openPythonClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 10, node: `${site.name}-a` });
    const connection = await connect(site.broker);
    // A mandatory message that comes back is no matter.
    const channel = await connection.createConfirmChannel();
    const throwing = (async () => {
      for (let index = 0; index < 500; index++) {
        const body = bodies[index % bodies.length] ?? "";
        const [exchange, key] =
          index % 2 === Math.floor(index / bodies.length) % 2
            ? [`${site.name}.mognet.control`, ""]
            : [`${site.name}.mognet.direct`, `${site.name}.tasks`];
        channel.publish(exchange, key, Buffer.from(body), properties[randomInt(properties.length)] ?? {});
        if (index % 20 === 0) await channel.waitForConfirms();
      }
      await channel.waitForConfirms();
    })();
    const ids = await submitMany(client, 200, (index) => ({ task: "echo", args: [index] }), { lanes: 5 });
    await throwing;
    await connection.close();
    await expectValues(client, ids, (index) => index);
    await site.drained(["tasks", `mognet.control.${site.name}-a`]);
    worker.assertAlive();
    expect(await client.status(1)).toEqual([[`${site.name}-a`, 0]]);
    const last = await client.submit({ task: "pause", args: [1] }, "");
    expect(await client.get(last, 30_000)).toEqual({ state: "SUCCESS", value: 1 });
    expect(await worker.stop()).toEqual({ code: 0, signal: null });
  });
});
