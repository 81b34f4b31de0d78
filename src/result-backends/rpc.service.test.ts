/** Results as messages over RabbitMQ: through a lost connection, and between us and real Celery in both directions. */
import { Buffer } from "node:buffer";
import { execa } from "execa";
import { afterEach, describe, expect, test } from "vitest";
import { type AmqpOptions, createAmqpTransport } from "../transports/amqp.ts";
import { haveRabbit, makeVhost, Proxy } from "../transports/amqp-rig.contract.ts";
import { consuming, until as eventually, queueOf } from "../transports/transport.contract.ts";
import type { Transport } from "../transports/transport.ts";
import { type ContractRecord, contractCodec } from "./result-backend.contract.ts";
import { createRpcBackend, type RpcBackend } from "./rpc.ts";

const PYTHON = process.env.LOVAGE_TEST_PYTHON;

/** A Celery app with rpc results; `work` answers until it is killed, `ask` prints the result of one task. */
const CELERY = `
import sys
from celery import Celery
role, url = sys.argv[1:3]
app = Celery('rpc', broker=url, backend='rpc://')
app.conf.update(task_track_started=True, worker_hijack_root_logger=False)

@app.task(name='add')
def add(x, y):
    return x + y

if role == 'work':
    app.worker_main(['worker', '--pool', 'solo', '--loglevel', 'info', '--without-gossip', '--without-mingle'])
else:
    result = app.send_task('add', (2, 3))
    print(result.get(timeout=20), result.state)
`;

/** The codec of the suite, with `result` as Celery calls it. */
const celeryCodec = {
  ...contractCodec(),
  encode: (id: string, record: ContractRecord) => ({
    body: JSON.stringify({
      ...{ status: record.status, result: record.value, traceback: null, children: [], task_id: id },
    }),
    contentType: "application/json",
    contentEncoding: "utf-8",
  }),
  decode(_id: string, bytes: Uint8Array): ContractRecord {
    const meta: { status: string; result: unknown } = JSON.parse(Buffer.from(bytes).toString());
    return { status: meta.status, value: meta.result };
  },
};

describe.runIf(haveRabbit())("the rpc backend over RabbitMQ", () => {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function vhostUrl(): Promise<string> {
    const vhost = await makeVhost();
    ends.push(() => vhost.remove());
    return vhost.url;
  }

  async function open(
    url: string,
    options: Partial<AmqpOptions> = {},
  ): Promise<{ transport: Transport; backend: RpcBackend<ContractRecord> }> {
    const transport = createAmqpTransport({ urls: [url], backoff: { initialMs: 10, maxMs: 100 }, ...options });
    await transport.connect();
    ends.push(() => transport.close());
    const backend = createRpcBackend<ContractRecord>({ transport, codec: celeryCodec });
    ends.push(() => backend.close());
    return { transport, backend };
  }

  test("thousands of waits are served, and the queue goes with its client", async () => {
    const url = await vhostUrl();
    const [client, worker] = [await open(url), await open(url)];
    const replyTo = await client.backend.replyTo();
    const ids = Array.from({ length: 3_000 }, (_, i) => `id-${i}`);
    const waits = ids.map((id) => client.backend.watch(id, {}));
    await Promise.all(ids.map((id, i) => worker.backend.store(id, { status: "SUCCESS", value: i }, { replyTo })));
    expect((await Promise.all(waits)).map((record) => record.value)).toEqual(ids.map((_, i) => i));
    await client.backend.close();
    expect(await worker.transport.inspectQueue(replyTo)).toBeNull();
    await worker.backend.store("late", { status: "SUCCESS" }, { replyTo });
  });

  test("after a lost connection replies arrive again", async () => {
    const url = await vhostUrl();
    const proxy = await Proxy.before(url);
    ends.push(() => proxy.close());
    const [client, worker] = [await open(proxy.url), await open(url)];
    const replyTo = await client.backend.replyTo();
    const waiting = client.backend.watch("a", {});
    proxy.cut();
    await eventually(
      async () => (await worker.transport.inspectQueue(replyTo))?.consumers === 1 && client.transport.connected,
      "the reply queue to be consumed again",
    );
    await worker.backend.store("a", { status: "SUCCESS", value: 1 }, { replyTo });
    expect((await waiting).value).toBe(1);
  });

  test.runIf(PYTHON)("a Celery worker answers us, state by state", async () => {
    const url = await vhostUrl();
    const { transport, backend } = await open(url);
    const worker = execa(PYTHON ?? "", ["-c", CELERY, "work", url], { reject: false, all: true });
    ends.push(() => {
      worker.kill("SIGKILL");
      return worker;
    });
    const queue = queueOf({ name: "celery" });
    await transport.declare([queue]);
    const id = "5f1b6c1e-4a0e-4f0c-9f53-0d3e5a5a0001";
    const seen: string[] = [];
    const replyTo = await backend.replyTo();
    const waiting = backend.watch(id, { onUpdate: (record) => seen.push(record.status) });
    await transport.publish(
      {
        body: Buffer.from('[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'),
        contentType: "application/json",
        contentEncoding: "utf-8",
        headers: { lang: "js", task: "add", id, root_id: id, parent_id: null, retries: 0, timelimit: [null, null] },
        properties: { correlationId: id, replyTo, deliveryMode: 2, priority: 0 },
      },
      { exchange: "", routingKey: "celery" },
    );
    expect(await waiting).toEqual({ status: "SUCCESS", value: 5 });
    expect(seen).toEqual(["STARTED"]);
  });

  test.runIf(PYTHON)("a Celery client gets our answer", async () => {
    const url = await vhostUrl();
    const { transport, backend } = await open(url);
    await transport.declare([queueOf({ name: "celery" })]);
    const client = execa(PYTHON ?? "", ["-c", CELERY, "ask", url], { reject: false, all: true });
    ends.push(() => {
      client.kill("SIGKILL");
      return client;
    });
    const inbox = await consuming(transport, ["celery"]);
    const [task] = await inbox.waitFor(1);
    const { correlationId, replyTo } = task?.message.properties ?? {};
    const id = String(task?.message.headers?.id);
    expect(correlationId).toBe(id);
    const route = { replyTo: replyTo ?? null, correlationId: correlationId ?? null };
    await backend.store(id, { status: "STARTED", value: null }, route);
    await backend.store(id, { status: "SUCCESS", value: 5 }, route);
    task?.ack();
    expect((await client).all).toContain("5 SUCCESS");
  });
});
