/** The command line beside real servers and a real Celery: calls and results across the languages, doctor's verdicts. */
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PythonClient,
  type RedisServer,
  startPythonClient,
  startPythonWorker,
  startRedis,
  type TempVhost,
  tempVhost,
} from "../../src/testing/index.ts";
import { amqpUrl, apiUrl, Project, python } from "./cli.test-kit.ts";

const servers = amqpUrl === undefined || apiUrl === undefined ? null : { amqp: amqpUrl, api: apiUrl };
const missing = python === undefined || servers === null;

let project: Project;
let redis: RedisServer;
let vhost: TempVhost;
let client: PythonClient;

beforeAll(async () => {
  if (python === undefined || servers === null) return;
  [project, redis, vhost] = await Promise.all([Project.make(), startRedis(), tempVhost(servers.api, servers.amqp)]);
  // What has been sent is in its queue.
  const settings = { broker_transport_options: { confirm_publish: true } };
  client = await startPythonClient({ broker: vhost.url, backend: redis.url, settings });
});
afterAll(async () => {
  for (const part of [client, project, redis, vhost]) await part?.[Symbol.asyncDispose]();
});

const brokers = () => ["-b", vhost.url, "--result-backend", redis.url];
const lovage = (...args: string[]) => project.lovage([...args, ...brokers()]);

/** Celery's own command line. */
const celery = (...args: string[]) =>
  execa(join(dirname(python ?? ""), "celery"), ["-b", vhost.url, "--result-backend", redis.url, ...args], {
    reject: false,
    env: { PYTHONWARNINGS: "ignore" },
  });

describe.skipIf(missing)("beside Celery", () => {
  test("`lovage call` reaches a Python worker, `lovage result` reads what it left", async () => {
    await using _worker = await startPythonWorker({
      broker: vhost.url,
      backend: redis.url,
      queues: ["py"],
      pool: "solo",
    });
    const sum = await lovage("call", "fixture.add", "-a", "[2, 3]", "--queue", "py", "--wait", "--timeout", "40");
    expect(sum).toMatchObject({ code: 0, stdout: "5\n" });
    const big = await lovage(
      "call",
      "fixture.identity",
      "-a",
      "[9007199254740993]",
      "--queue",
      "py",
      "--wait",
      "--timeout",
      "40",
    );
    expect(big.stdout).toBe("9007199254740993\n");

    const failed = await lovage("call", "fixture.fail", "-a", '["KeyError", "k"]', "--queue", "py");
    expect(failed).toMatchObject({ code: 0, stderr: "" });
    const id = failed.stdout.trim();
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    const result = await lovage("result", id, "--timeout", "40");
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^Traceback \(most recent call last\):\n(?:.*\n)*KeyError: 'k'\n$/);
    expect(await lovage("result", id, "--traceback")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("KeyError"),
    });
    expect(await lovage("result", id, "--state")).toMatchObject({ code: 0, stdout: "FAILURE\n" });

    const sent = await client.send("fixture.add", [20, 22], {}, { queue: "py" });
    expect(await lovage("result", sent, "--timeout", "40")).toMatchObject({ code: 0, stdout: "42\n" });
  });

  test("`celery call` reaches `lovage worker`, `celery result` reads what it left", async () => {
    const worker = await project.worker(["-Q", "ts", ...brokers()]);
    const called = await celery("call", "shop.add", "--args", "[4, 5]", "--queue", "ts");
    expect(called).toMatchObject({ exitCode: 0 });
    await worker.waitForLog("succeeded");
    expect((await celery("result", called.stdout.trim())).stdout).toBe("9");
    expect((await lovage("result", called.stdout.trim())).stdout).toBe("9\n");
    worker.kill("SIGTERM");
    expect(await worker.ended).toEqual({ code: 0, signal: null });
  });

  test("call options mean what Celery's mean: Python sees the message as its own", async () => {
    const options = [
      "--queue",
      "opt",
      "--countdown",
      "60",
      "--expires",
      "3600",
      "--priority",
      "3",
      "--task-id",
      "my-id",
    ];
    await lovage("call", "any.name", "-a", "[1]", "-k", '{"k": [true, null]}', ...options);
    const message = await client.basicGet("opt");
    expect(message?.headers).toMatchObject({ task: "any.name", id: "my-id", lang: "js" });
    const [eta = 0, expires = 0] = ["eta", "expires"].map((name) => Date.parse(String(message?.headers?.[name])));
    expect(eta - Date.now()).toBeGreaterThan(30_000);
    expect(expires - eta).toBeGreaterThan(3_000_000);
    expect(message?.properties).toMatchObject({ priority: 3 });
    expect(JSON.parse(message?.body ?? "")).toEqual([[1], { k: [true, null] }, expect.anything()]);
  });

  test("a result that does not come ends with 1 after --timeout", async () => {
    const run = await lovage("result", "no-such-task", "--timeout", "0.5");
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/no-such-task/);
  });

  test("purge deletes what waits in the named queues, and says how much", async () => {
    for (let i = 0; i < 3; i++) await client.send("any.name", [i], {}, { queue: "old" });
    await client.send("any.name", [], {}, { queue: "kept" });
    const purged = await lovage("purge", "-f", "-Q", "old,kept,never-made", "-X", "kept");
    expect(purged).toMatchObject({
      code: 0,
      stdout: "old: 3\nnever-made: no such queue\n3 messages deleted from 2 queues\n",
    });
    expect(JSON.parse((await lovage("purge", "-f", "-Q", "old", "--json")).stdout)).toEqual([
      { queue: "old", deleted: 0 },
    ]);
    expect(await client.queue("kept")).toMatchObject({ messages: 1 });
  });

  test("list queues tells lengths and consumers, in columns and in JSON", async () => {
    await client.send("any.name", [], {}, { queue: "listed" });
    const text = await lovage("list", "queues", "-Q", "listed,never-made");
    expect(text.stdout).toBe("queue       messages  consumers\nlisted      1         0\nnever-made  -         -\n");
    const json = await lovage("list", "queues", "-Q", "listed", "--json");
    expect(JSON.parse(json.stdout)).toEqual([{ queue: "listed", messages: 1, consumers: 0 }]);
    const ofRedis = await project.lovage(["list", "queues", "-Q", "x", "--json", "-b", redis.url]);
    expect(JSON.parse(ofRedis.stdout)).toEqual([{ queue: "x", messages: 0, consumers: null }]);
  });

  test("worker --purge begins with empty queues", async () => {
    await client.send("shop.fails", [], {}, { queue: "stale" });
    const worker = await project.worker(["-Q", "stale", "--purge", ...brokers()]);
    expect(worker.log()).toMatch(/"queue":"stale","messages":1,"msg":"purged"/);
    await client.send("shop.add", [1, 1], {}, { queue: "stale" });
    await worker.waitForLog('"msg":"succeeded"');
    expect(worker.log()).not.toContain("not today");
  });

  test("worker refuses -Q of a queue that is not configured when queues are not made on demand", async () => {
    project.write(
      "strict.js",
      `import { Celery } from "lovage";
       export const app = new Celery("strict", { settings: { task_queues: { mail: {} }, task_create_missing_queues: false } });`,
    );
    const run = await project.lovage(["worker", "-A", "./strict.js", "-Q", "mial", ...brokers()]);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/"mial" is not in task_queues .*mean "mail"/) });
  });

  test("a worker whose login is refused ends with 1 and does not show the password", async () => {
    const url = vhost.url.replace(/\/\/[^@]+@/, "//guest:hunter2@");
    const run = await project.lovage(["worker", "-A", "./app.js", "-b", url]);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/^lovage: .* refuses the login/m) });
    expect(run.stderr).not.toContain("hunter2");
    // wire: celery/bin/base.py `handle_remote_command_error`; also where there is no broker at all.
    const asked = await project.lovage(["status", "-b", url]);
    expect(asked).toMatchObject({ code: 69, stderr: expect.stringMatching(/^lovage: .* refuses the login[^\n]*\n$/) });
  });
});

describe.skipIf(missing)("doctor", () => {
  const doctor = async (...args: string[]) => {
    const { code, stdout, stderr } = await project.lovage(["doctor", "--json", "--timeout", "20", ...args]);
    expect(stderr).toBe("");
    const findings = JSON.parse(stdout) as { check: string; verdict: string; detail: string }[];
    const find = (check: string) => findings.filter((finding) => finding.check === check);
    return { code, findings, find, stdout };
  };

  test("names broker and version, and sees a Python worker consume", async () => {
    await using _worker = await startPythonWorker({
      broker: vhost.url,
      backend: redis.url,
      queues: ["seen"],
      pool: "solo",
    });
    const { code, find } = await doctor(...brokers(), "-Q", "seen");
    expect(code).toBe(0);
    expect(find("broker")).toEqual([
      { check: "broker", verdict: "ok", detail: expect.stringMatching(/, RabbitMQ \d+\.\d+/) },
    ]);
    expect(find("queue seen")[0]).toMatchObject({ verdict: "ok", detail: "0 waiting, 1 consuming" });
    expect(find("results")[0]).toMatchObject({ verdict: "ok" });
  });

  test("warns when nobody consumes, and when a queue does not exist, which it leaves so", async () => {
    await client.send("any.name", [], {}, { queue: "lonely" });
    const { code, find } = await doctor(...brokers(), "-Q", "lonely,unborn");
    expect(code).toBe(0);
    expect(find("queue lonely")[0]).toMatchObject({
      verdict: "warn",
      detail: "1 waiting, and nobody consumes from it",
    });
    expect(find("queue unborn")[0]).toMatchObject({ verdict: "warn" });
    expect(await client.queue("unborn")).toBeNull();
  });

  test("fails on a queue that exists with other arguments", async () => {
    await client.declare({ name: "clash", queue_arguments: { "x-max-priority": 5 } });
    const { code, find } = await doctor(...brokers(), "-Q", "clash");
    expect(code).toBe(1);
    expect(find("queue clash")[0]).toMatchObject({
      verdict: "fail",
      detail: expect.stringContaining("x-max-priority"),
    });
  });

  test("fails on wrong passwords, RabbitMQ's and Redis's, without showing them", async () => {
    const url = vhost.url.replace(/\/\/[^@]+@/, "//guest:hunter2@");
    const rabbit = await doctor("-b", url);
    expect(rabbit.code).toBe(1);
    expect(rabbit.find("broker")[0]).toMatchObject({
      verdict: "fail",
      detail: expect.stringContaining("refuses the login"),
    });
    await using locked = await startRedis({ args: ["--requirepass", "right"] });
    const wrong = locked.url.replace("redis://", "redis://:hunter2@");
    const both = await doctor("-b", wrong, "--result-backend", wrong);
    expect(both.code).toBe(1);
    expect(both.find("broker")[0]).toMatchObject({
      verdict: "fail",
      detail: expect.stringMatching(/WRONGPASS|invalid/),
    });
    expect(both.find("results")[0]).toMatchObject({ verdict: "fail" });
    expect(rabbit.stdout + both.stdout).not.toContain("hunter2");
  });

  test("names Redis, compares its clock with ours, and warns of an eviction policy that loses messages", async () => {
    const healthy = await doctor("-b", redis.url);
    expect(healthy.find("broker")[0]).toMatchObject({ verdict: "ok", detail: expect.stringMatching(/, Redis \d/) });
    expect(healthy.find("clock")[0]).toMatchObject({ verdict: "ok" });
    await using greedy = await startRedis({ args: ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"] });
    const { code, find } = await doctor("-b", greedy.url);
    expect(code).toBe(0);
    expect(find("broker")[1]).toMatchObject({ verdict: "warn", detail: expect.stringContaining("allkeys-lru") });
  });

  test("warns when the clocks are apart", async () => {
    project.write("skewed.mjs", "const now = Date.now; Date.now = () => now() + 60_000;");
    const { stdout } = await project.lovage(["doctor", "-b", redis.url], {
      env: { NODE_OPTIONS: `--import ${project.folder.join("skewed.mjs")}` },
    });
    expect(stdout).toMatch(/^warn {2}clock {10}the broker's clock is (?:59|60|61)(\.\d)? s behind ours/m);
  });
});
