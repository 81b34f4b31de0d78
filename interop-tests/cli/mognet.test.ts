/** `lovage mognet` beside Mognet's own command, over a fleet of one Python node and one of ours. */
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Mognet } from "../../src/app/mognet.ts";
import { silentLog } from "../../src/runtime/log.ts";
import {
  PeerProcess,
  type PythonMognetWorker,
  startPythonMognetWorker,
  type TempVhost,
  tempVhost,
  testService,
  waitFor,
} from "../../src/testing/index.ts";
import { amqpUrl, apiUrl, Project, type Run, redisUrl } from "./cli.test-kit.ts";

const python = testService("LOVAGE_TEST_PYTHON_MOGNET");
const fixtures = fileURLToPath(new URL("../../python-fixtures", import.meta.url));

const APP = `
import { task } from "lovage";
import { Mognet, mognetContext } from "lovage/mognet";
import { z } from "zod";
const name = process.env.FIXTURE_APP;
const env = JSON.parse(process.env.FIXTURE_CONFIG);
const mine = task("ours.hold", { params: {}, queue: "ours" }, (_params, ctx) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 600_000);
  ctx.signal.addEventListener("abort", () => { clearTimeout(timer); reject(ctx.signal.reason); });
}));
const parent = task("ours.parent", { params: { count: z.int() }, queue: "ours" }, async ({ count }, ctx) => {
  const children = Array.from({ length: count }, () => mognetContext(ctx).run("fixture.slow", [600]));
  return Promise.all(children);
});
export const app = new Mognet(name, { config: env, tasks: [mine, parent] });
setInterval(() => {}, 1000);
`;

describe("lovage mognet", () => {
  const name = `cli${randomBytes(4).toString("hex")}`;
  let vhost: TempVhost;
  let project: Project;
  let pythonWorker: PythonMognetWorker;
  let ours: PeerProcess;
  let client: Mognet;
  let env: Record<string, string | undefined>;

  beforeAll(async () => {
    vhost = await tempVhost(apiUrl ?? "", amqpUrl ?? "");
    const redis = { redis: { url: redisUrl } };
    const config = { broker: { amqp: { url: vhost.url } }, result_backend: redis, state_backend: redis };
    client = new Mognet(name, { config, log: silentLog, env: {} });
    project = await Project.make();
    project.write("mognet.js", APP);
    project.write("mognet.json", JSON.stringify(config));
    env = { FIXTURE_APP: name, FIXTURE_CONFIG: JSON.stringify({ ...config, node_id: "ts-1", minimum_concurrency: 4 }) };
    pythonWorker = await startPythonMognetWorker({
      python: python ?? "",
      broker: vhost.url,
      redis: redisUrl ?? "",
      name,
      node: "py-1",
      concurrency: 8,
      keepPaused: true,
      keepConnections: true,
    });
    ours = (await project.start(["mognet", "./mognet.js", "run", "--include-queues", "ours"], { env })).peer;
    await ours.waitForLog('"msg":"ready"', { timeout: 90_000 });
  });

  afterAll(async () => {
    await client?.close();
    await project?.[Symbol.asyncDispose]();
    await pythonWorker?.stop({ grace: 5_000 });
    await vhost?.[Symbol.asyncDispose]();
  });

  const lovage = (...args: string[]): Promise<Run> =>
    project.lovage(["mognet", "--name", name, "--config", "mognet.json", ...args]);

  /** A command about nodes, until both have answered it in time. */
  const nodes = (...args: string[]): Promise<Run> =>
    waitFor(
      async () => {
        const ran = await lovage("nodes", ...args, "--timeout", "2");
        return ["py-1", "ts-1"].every((node) => ran.stdout.includes(node)) && ran;
      },
      { timeout: 60_000, describe: `both nodes to answer ${args.join(" ")}` },
    );

  /** Resolves when both nodes say that they run nothing. */
  const untilIdle = () =>
    waitFor(
      async () => {
        const said = await client.nodeStatus({ timeout: 3_000, nodes: 2 });
        return said.length === 2 && said.every((node) => node.runningRequestIds.length === 0);
      },
      { describe: "both nodes to be idle" },
    );

  /** Mognet's own command, on the same app. */
  async function mognet(...args: string[]): Promise<Run> {
    let stdout = "";
    const peer = await PeerProcess.start(python ?? "", {
      name: "mognet",
      args: ["-m", "mognet", "--log-level", "ERROR", "mognet_app.app", ...args],
      cwd: fixtures,
      env: {
        FIXTURE_APP: name,
        FIXTURE_AMQP: vhost.url,
        FIXTURE_REDIS: redisUrl,
        FIXTURE_NODE: `cli-${randomBytes(4).toString("hex")}`,
      },
      onStdout: (text) => {
        stdout += text;
      },
    });
    const { code, signal } = await peer.ended;
    return { code, signal, stdout, stderr: peer.log() };
  }

  test("nodes: those of both languages, and what they run", async () => {
    const here = await client.submit("ours.hold", {}, { queueName: "ours" });
    const there = await client.submit("fixture.slow", [600]);
    await waitFor(
      async () => (await here.refresh()).state === "RUNNING" && (await there.refresh()).state === "RUNNING",
    );
    const list = await nodes("list", "--json");
    expect([list.code, JSON.parse(list.stdout)]).toEqual([
      0,
      [
        { node_id: "py-1", running_requests: 1 },
        { node_id: "ts-1", running_requests: 1 },
      ],
    ]);
    const status = await nodes("status");
    expect(status.code).toBe(0);
    expect(status.stdout).toMatch(
      /^2 nodes replied as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+:\nNode name {4}Running requests\n-{11} {2}-+\n/,
    );
    expect(status.stdout).toContain(`py-1         fixture.slow(id=UUID('${there.id}'), state='RUNNING')`);
    expect(status.stdout).toContain(`ts-1         ours.hold(id=UUID('${here.id}'), state='RUNNING')`);
    const json = await nodes("status", "--format", "json");
    expect(JSON.parse(json.stdout).node_status[1]).toMatchObject({
      node_id: "ts-1",
      running_requests: [{ id: here.id, node_id: "ts-1", number_of_starts: 1 }],
    });
    for (const id of [here.id, there.id])
      expect(await lovage("tasks", "revoke", id)).toMatchObject({ code: 0, stdout: "" });
    await untilIdle();
    await expect(here.get({ timeout: 40_000 })).rejects.toThrow("revoked");
  });

  test("tasks get prints the table that Mognet prints", async () => {
    const result = await client.submit("fixture.add", [1, 2], { metadata: { by: "cli" } });
    expect(await result.get({ timeout: 30_000 })).toBe(3);
    const [a, b] = await Promise.all([
      lovage("tasks", "get", result.id, "--include-value"),
      mognet("tasks", "get", "--include-value", result.id),
    ]);
    expect([a.code, b.code]).toEqual([0, 0]);
    const like = (text: string) =>
      text.replace("ResultState.", "").replace(/-{3,}/g, "---").replaceAll(/ +\n/g, "\n").trim();
    // Python's value is a float, 3.0; without `exact_floats` it is 3 to us.
    expect(like(a.stdout)).toBe(like(b.stdout).replace(/3\.0$/m, "3"));
    const json = await lovage("tasks", "get", result.id, "--include-value", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({
      id: result.id,
      state: "SUCCESS",
      metadata: { by: "cli" },
      value: 3,
    });
    const failed = await client.submit("fixture.fail", ["no tea"]);
    await failed.wait({ timeout: 30_000 });
    expect((await lovage("tasks", "get", failed.id, "--include-value")).stdout).toMatch(/Error raised +Traceback/);
  });

  test("tasks tree prints the tree that Mognet prints, over both languages", async () => {
    const root = await client.submit("ours.parent", { count: 2 }, { queueName: "ours" });
    await waitFor(
      async () => (await root.tree()).children.filter((child) => child.result.state === "RUNNING").length === 2,
    );
    const [a, b] = await Promise.all([lovage("tasks", "tree", root.id), mognet("tasks", "tree", root.id)]);
    const lines = (text: string) =>
      text
        .trim()
        .split("\n")
        .map((line) => line.replace(/[├└]/, "+"))
        .sort();
    expect([a.code, lines(a.stdout)]).toEqual([0, lines(b.stdout)]);
    expect(a.stdout).toMatch(/^ours\.parent\(id=UUID\('[^']+'\), state='SUSPENDED'\)\n├── fixture\.slow\(/);
    const [c, d] = await Promise.all([
      lovage("tasks", "tree", root.id, "--format", "json"),
      mognet("tasks", "tree", "--format", "json", root.id),
    ]);
    const sorted = (text: string) => {
      const { result, children } = JSON.parse(text) as { result: object; children: { result: { id: string } }[] };
      return { result, children: children.sort((x, y) => (x.result.id < y.result.id ? -1 : 1)) };
    };
    expect(sorted(c.stdout)).toEqual(sorted(d.stdout));
    const label = await lovage(
      "tasks",
      "tree",
      root.id,
      "--text-label-format",
      "{name:*>14} {{{state}}} {node_id!r:8.5}|",
      "--max-width",
      "1",
    );
    expect(label.stdout).toBe(
      "***ours.parent {ResultState.SUSPENDED} 'ts-1   |\n├── **fixture.slow {ResultState.RUNNING} 'py-1   |\n└── …\n",
    );
    expect((await lovage("tasks", "revoke", root.id)).code).toBe(0);
    await waitFor(async () => (await root.tree()).children.every((child) => child.result.state === "REVOKED"));
    await untilIdle();
  });

  test("what nobody knows ends with 1, and is revoked all the same", async () => {
    const id = "6f3b7b52-26a1-4a0f-9c6b-6d3c8f4f8f0e";
    expect(await lovage("tasks", "get", id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("does not exist"),
    });
    expect(await lovage("tasks", "tree", id)).toMatchObject({ code: 1 });
    expect(await lovage("tasks", "revoke", id)).toMatchObject({ code: 1 });
    expect(await mognet("tasks", "get", id)).toMatchObject({ code: 0 });
    expect((await lovage("tasks", "get", id, "--json")).stdout).toContain('"state": "REVOKED"');
    await client.client.store.delete(id);
  });

  test("queues are counted, and purged only with --force", async () => {
    const stats = await lovage("queues", "stats", "--json");
    expect(JSON.parse(stats.stdout)).toEqual([{ queue_name: "tasks", message_count: 0, consumer_count: 1 }]);
    const ours = await project.lovage(["mognet", "-A", "./mognet.js", "queues", "stats"], { env });
    expect(ours.stdout).toMatch(/^Queue +Messages +Consumers\n[- ]+\nours +0 +1\ntasks +0 +1\n$/);
    expect(await lovage("queues", "stats", "nothing")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("No such queue: nothing"),
    });
    expect(await lovage("queues", "purge")).toMatchObject({ code: 1, stdout: "Must pass --force\n" });
    expect(await lovage("queues", "purge", "--force")).toMatchObject({
      code: 0,
      stdout: "Purged the following queues:\n\t- 'tasks': 0\nPurged 0 control messages\n",
    });
  });

  test("a command line that cannot be understood ends with 2 and a hint", async () => {
    const said = async (...args: string[]) => {
      const { code, stderr } = await project.lovage(["mognet", ...args], { env });
      return [code, stderr.split("\n", 1)[0]];
    };
    expect(await said("./mognet.js", "tasks", "get", "nonsense")).toEqual([2, "lovage: nonsense is not a UUID"]);
    expect(await said("./mognet.js", "tasks", "gte", "x")).toEqual([
      2,
      'lovage: no such command: tasks gte; did you mean "get"?',
    ]);
    expect(await said("./mognet.js", "queues", "stats", "--force")).toEqual([
      2,
      "lovage: queues stats has no option --force",
    ]);
    const tree = ["./mognet.js", "tasks", "tree", "6f3b7b52-26a1-4a0f-9c6b-6d3c8f4f8f0e"];
    expect(await said(...tree, "--max-width=1.5")).toEqual([
      2,
      "lovage: --max-width is a whole number, at least 0, not 1.5",
    ]);
    expect(await said("nodes", "list")).toEqual([2, expect.stringContaining("which app?")]);
    expect(await said("./mognet.js", "run", "--pool", "fork")).toEqual([
      2,
      "lovage: --pool is one of async, threads, processes, not fork",
    ]);
    expect(await said("--name", "shop", "run", "--pool", "threads")).toEqual([
      2,
      "lovage: --pool threads needs the app's module (-A): every thread or process loads it",
    ]);
    expect(await said("./mognet.js", "run", "--include-queues", "a", "--exclude-queues", "b")).toEqual([
      1,
      expect.stringContaining("cannot have both include and exclude"),
    ]);
  });

  test("run ends with 0 when it is told to stop, by either signal", async () => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const own = {
        ...env,
        FIXTURE_CONFIG: JSON.stringify({ ...JSON.parse(env.FIXTURE_CONFIG ?? ""), node_id: `ts-${signal}` }),
      };
      const { peer } = await project.start(["mognet", "./mognet.js", "run"], { env: own });
      await peer.waitForLog('"msg":"ready"', { timeout: 60_000 });
      const { code } = await peer.stop({ signal, grace: 40_000 });
      expect([signal, code]).toEqual([signal, 0]);
    }
  });
});
