/** Our client in front of a real Mognet worker: Python runs what we submit, and we read what Python stored. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { PyDateTime, PyDecimal, PyUuid } from "../../protocol/values.ts";
import { newId } from "../runtime/ids.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { RemoteTaskError } from "../tasks/errors.ts";
import { CouldNotSubmit, InvalidTaskArguments, Revoked, UnknownTask } from "../tasks/mognet-errors.ts";
import {
  type PythonMognetWorker,
  startPythonMognetWorker,
  type TempVhost,
  tempFolder,
  tempVhost,
  testService,
  waitFor,
} from "../testing/index.ts";
import { Mognet } from "./mognet.ts";

class ShopError extends Error {
  static readonly python = "mognet_app.models.ShopError";
  readonly code: string;
  readonly text: string;
  constructor(code: string, text: string) {
    super(`${code} ${text}`);
    this.code = code;
    this.text = text;
  }
}

const redis = testService("LOVAGE_TEST_REDIS_URL");
const amqp = testService("LOVAGE_TEST_AMQP_URL");
const api = testService("LOVAGE_TEST_RABBITMQ_API");
const python = testService("LOVAGE_TEST_PYTHON_MOGNET");
const ready = redis !== undefined && amqp !== undefined && api !== undefined && python !== undefined;

const add = task("fixture.add", { params: { a: z.number(), b: z.number().optional() }, returns: z.number() });
const slow = task("fixture.slow", { params: { seconds: z.number(), value: z.unknown().optional() } });
const echo = task("fixture.echo", { params: { value: z.unknown() } });

describe.skipIf(!ready)("a TypeScript client and a Python worker", () => {
  const name = `client-${newId().slice(0, 8)}`;
  let vhost: TempVhost;
  let worker: PythonMognetWorker;
  let app: Mognet;
  let config: Record<string, unknown>;

  beforeAll(async () => {
    vhost = await tempVhost(api ?? "", amqp ?? "");
    config = {
      broker: { amqp: { url: vhost.url } },
      result_backend: { redis: { url: redis } },
      state_backend: { redis: { url: redis } },
    };
    worker = await startPythonMognetWorker({
      python: python ?? "",
      broker: vhost.url,
      redis: redis ?? "",
      name,
      node: "py-1",
      concurrency: 4,
      keepPaused: true,
      keepConnections: true,
      env: { FIXTURE_RECORD: redis },
    });
    app = new Mognet(name, { config, tasks: [add, slow, echo], errors: [ShopError], log: silentLog, env: {} });
  }, 120_000);

  afterAll(async () => {
    await app?.close();
    await worker?.stop({ grace: 5_000 });
    await vhost?.[Symbol.asyncDispose]();
  });

  test("the value comes back, and the record tells of the run", async () => {
    const result = await app.submit(add, { a: 1, b: 2.5 }, { metadata: { by: "ts", n: [1, 2] } });
    expect(await result.get({ timeout: 30_000 })).toBe(3.5);
    expect(result).toMatchObject({
      state: "SUCCESS",
      nodeId: "py-1",
      numberOfStarts: 1,
      numberOfStops: 1,
      requestKwargsRepr: "a=1, b=2.5",
    });
    expect(result.queueTime).toBeGreaterThan(0);
    expect(await result.getMetadata()).toEqual({ by: "ts", n: [1, 2] });
    expect(await app.run("fixture.add", [2, 3], {}, { timeout: 30_000 })).toBe(5);
  });

  test.each<[string, unknown]>([
    ["texts", 'café "x" 😀'],
    ["big integers", 2n ** 70n],
    ["nested containers", { list: [1, 2.5, null, true, { deep: [] }], none: null }],
    ["null", null],
  ])("%s go there and back", async (_what, value) => {
    expect(await app.run(echo, { value }, {}, { timeout: 30_000 })).toEqual(value);
  });

  test("Python's own types arrive as what stands for them", async () => {
    const sent = { u: new PyUuid("6f3b7b52-26a1-4a0f-9c6b-6d3c8f4f8f0e"), d: new PyDecimal("1.10"), t: new Date(0) };
    expect(await app.run(echo, { value: sent }, {}, { timeout: 30_000 })).toEqual({
      u: "6f3b7b52-26a1-4a0f-9c6b-6d3c8f4f8f0e",
      d: "1.10",
      t: "1970-01-01T00:00:00Z",
    });
    expect(PyDateTime.prototype).toBeInstanceOf(Date);
  });

  test("failures come as what they were: raised, invalid, unknown", async () => {
    const raised = await app.run("fixture.fail", ["no tea"], {}, { timeout: 30_000 }).catch((error: unknown) => error);
    expect(raised).toBeInstanceOf(RemoteTaskError);
    expect(raised).toMatchObject({
      message: expect.stringContaining("no tea"),
      traceback: expect.stringContaining("Traceback"),
    });
    const invalid = await app.run("fixture.add", ["x"], {}, { timeout: 30_000 }).catch((error: unknown) => error);
    expect(invalid).toBeInstanceOf(InvalidTaskArguments);
    expect(invalid).toMatchObject({
      errors: [{ loc: [1], type: "float_parsing", msg: expect.stringContaining("number") }],
    });
    await expect(app.run("fixture.nothing", [], {}, { timeout: 30_000 })).rejects.toThrow(UnknownTask);
  });

  test("an error has the arguments that Python raised it with, and its words", async () => {
    const sold = await app.run("fixture.raise", ["custom"], {}, { timeout: 15_000 }).catch((error: unknown) => error);
    expect(sold).toBeInstanceOf(ShopError);
    expect(sold).toMatchObject({ code: "E1", text: "sold out", cause: { message: "ShopError: E1: sold out" } });
    const missing = await app.run("fixture.raise", ["key"], {}, { timeout: 15_000 }).catch((error: unknown) => error);
    expect(missing).toMatchObject({ type: "KeyError", args: ["missing"], message: "KeyError: 'missing'" });
  });

  test("a duration and an instant that have passed revoke", async () => {
    const late = app.run(slow, { seconds: 60 }, { deadline: 0.2 }, { timeout: 30_000 });
    const past = app.run(slow, { seconds: 60 }, { deadline: new Date(Date.now() - 1000) }, { timeout: 30_000 });
    const failures = await Promise.all([late, past].map((run) => run.catch((error: unknown) => error)));
    expect(failures.map((error) => [error instanceof Revoked, error instanceof Revoked && error.reason])).toEqual([
      [true, "expired"],
      [true, "expired"],
    ]);
  });

  test("a tree of Python's is read, and revoked with all that runs in it", async () => {
    const result = await app.submit("fixture.spawn", [3, 60]);
    await waitFor(async () => {
      const tree = await result.tree();
      return tree.children.length === 3 && tree.children.every((child) => child.result.state === "RUNNING");
    });
    const status = await app.nodeStatus({ timeout: 20_000, nodes: 1 });
    expect(status).toEqual([{ id: expect.any(String), nodeId: "py-1", runningRequestIds: expect.any(Array) }]);
    expect(status[0]?.runningRequestIds).toHaveLength(4);
    await app.revoke(result.id);
    await expect(result.get({ timeout: 30_000 })).rejects.toThrow(Revoked);
    const children = (await result.tree()).children.map((child) => child.result.state);
    expect(children).toEqual(["REVOKED", "REVOKED", "REVOKED"]);
    // Python has let go of them, and lives.
    await waitFor(async () => (await app.nodeStatus({ timeout: 20_000, nodes: 1 }))[0]?.runningRequestIds.length === 0);
    expect(await app.run(add, { a: 1, b: 1 }, {}, { timeout: 30_000 })).toBe(2);
  });

  test("a queue of its own is counted with its consumer; one that nobody has is an error and no eternal PENDING", async () => {
    expect(await app.queueStats("tasks")).toEqual({ queueName: "tasks", messageCount: 0, consumerCount: 1 });
    const failure = await app.submit(add, { a: 1 }, { queueName: "nowhere" }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CouldNotSubmit);
    const { requestId } = failure as CouldNotSubmit;
    expect((await app.getResult(requestId))?.state).toBe("FAILURE");
  });

  test("one configuration file serves both languages", async () => {
    await using folder = await tempFolder();
    const file = folder.join("mognet.json");
    const whole = { ...config, node_id: "from-file", task_routes: { a: "images" }, lovage: { validate_params: true } };
    writeFileSync(file, JSON.stringify(whole));
    const script = `import sys; from mognet import AppConfig; c = AppConfig.from_file(sys.argv[1]); print(c.node_id, c.task_routes, c.broker.amqp.url)`;
    const { stdout } = await promisify(execFile)(python ?? "", ["-c", script, file]);
    await using ours = new Mognet(name, { configFile: file, log: silentLog, env: {} });
    expect(stdout.trim()).toBe(`from-file {'a': 'images'} ${vhost.url}`);
    expect(ours.config).toMatchObject({ node_id: "from-file", task_routes: { a: "images" } });
    expect(ours.config.broker.amqp.url).toBe(vhost.url);
  });
});
