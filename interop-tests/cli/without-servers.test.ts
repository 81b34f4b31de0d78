/** The command line on the embedded default, where no server is needed: flags, modules, exit codes, signals. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort, PeerProcess, waitFor, within } from "../../src/testing/index.ts";
import { Project } from "./cli.test-kit.ts";

let project: Project;
beforeAll(async () => {
  project = await Project.make();
});
afterAll(() => project[Symbol.asyncDispose]());

/** Whether there is such a process, or for a negative number any in that group. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const ended = (peer: PeerProcess) => within(peer.ended, 80_000, "the worker to end");

describe("app modules", () => {
  const tasks = async (spec: string) => {
    const { code, stdout, stderr } = await project.lovage(["list", "tasks", "--json", "-A", spec]);
    return code === 0 ? (JSON.parse(stdout) as { task: string }[]).length : stderr;
  };

  test("a file, a file without its ending, a named export", async () => {
    expect(await tasks("./app.js")).toBe(8);
    expect(await tasks("app")).toBe(8);
    expect(await tasks("./app.js:app")).toBe(8);
    expect(await tasks("./app.js:add")).toContain("has no export add that is a Celery app");
  });

  test("a folder with an index, and CommonJS", async () => {
    project.write(
      "src/index.cjs",
      `const { Celery, task } = require("lovage");
       module.exports = { app: new Celery("old", { tasks: [task("old.one", () => 1)] }) };`,
    );
    expect(await tasks("./src")).toBe(1);
  });

  test("a module of an installed package", async () => {
    project.write(
      "packages/shop-tasks/package.json",
      `{"name":"shop-tasks","type":"module","exports":{"./app":"./a.js"}}`,
    );
    project.write("packages/shop-tasks/a.js", `export { app } from "../../app.js";`);
    mkdirSync(project.folder.join("node_modules"), { recursive: true });
    symlinkSync("../packages/shop-tasks", project.folder.join("node_modules", "shop-tasks"));
    expect(await tasks("shop-tasks/app")).toBe(8);
    expect(await tasks("shop-tasks/nix")).toContain("shop-tasks/nix: ");
  });

  test("says what is wrong with a module that is none", async () => {
    project.write("empty.js", "export const x = 1;");
    project.write("two.js", `import { Celery } from "lovage"; export const a = new Celery("a"), b = new Celery("b");`);
    project.write("typed.ts", "export const x: number = 1;");
    project.write("broken.js", "throw new Error('my own fault');");
    expect(await tasks("./nowhere.js")).toMatch(/no such app module: .\/nowhere.js/);
    expect(await tasks("./typed.js")).toContain("; there is ./typed.ts");
    expect(await tasks("./empty.js")).toContain('exports no Celery app; export one as default or as "app"');
    expect(await tasks("./two.js")).toContain("exports several Celery apps; name one: ./two.js:name");
    expect(await tasks("./broken.js")).toContain("my own fault");
  });

  test("TypeScript directly, where Node can; else it says what would help", async () => {
    project.write(
      "app.ts",
      `import { Celery, task } from "lovage";
       const one = task("typed.one", (n: number): number => n + 1);
       export const app: Celery = new Celery("typed", { tasks: [one] });`,
    );
    const seen = await tasks("./app.ts");
    if ("typescript" in process.features && process.features.typescript) expect(seen).toBe(1);
    else
      expect(seen).toMatch(
        /cannot load .*app\.ts directly: use Node 22\.18 or newer, install tsx, or compile it first/,
      );
  });
});

describe("usage", () => {
  test("flags stand before or behind the command, as in Celery 4 and 5", async () => {
    const before = await project.lovage(["-A", "./app.js", "-C", "-q", "list", "tasks"]);
    const behind = await project.lovage(["list", "tasks", "--app=./app.js"]);
    expect(before).toEqual(behind);
    expect(before.stdout).toContain("ml.score       elsewhere  text");
    expect(before.stdout).toContain("shop.add       here       x, y");
  });

  test.each([
    [["worker", "-A", "app", "-Q", "a", "-X", "a"], "no queue is left to consume"],
    [["purge"], "nobody to ask: add -f"],
    [["worker", "-A", "app", "--quues", "a"], 'no such option: --quues; did you mean "--queues"?'],
  ])("%j ends with 2 and says why", async (args, words) => {
    const { code, stdout, stderr } = await project.lovage(args);
    expect(stderr).toContain(words);
    expect(stderr).toContain("--help");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });

  test("a wrong value in a flag is reported as the flag, without the password in it", async () => {
    const { code, stderr } = await project.lovage(["list", "queues", "-b", "reddis://:hunter2@h/0"]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("reddis://; did you mean") });
    const pool = await project.lovage(["worker", "-A", "app", "-P", "gevent"]);
    expect(pool.stderr).toContain(
      'setting worker_pool (--pool): pool "gevent" is not available in Lovage; use "async", "threads" or "processes"',
    );
    expect(stderr).not.toContain("hunter2");
  });

  test("call --wait without a result backend sends nothing", async () => {
    const refused = await project.lovage([
      "call",
      "shop.add",
      "--wait",
      "-b",
      "memory://",
      "--result-backend",
      "disabled://",
    ]);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toContain("needs a result backend");
  });

  test("a module that never finishes loading is said to", async () => {
    project.write("never.mjs", "await new Promise(() => {});\n");
    const never = await project.lovage(["list", "tasks", "-A", "./never.mjs"]);
    expect(never.code).toBe(1);
    expect(never.stderr).toContain("never finished loading");
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "events waits for its broker, says so, and %s ends it with 0",
    async (signal) => {
      const port = await freePort();
      const { peer } = await project.start(["events", "--json", "--enable", "-b", `amqp://127.0.0.1:${port}//`]);
      await peer.waitForLog("ECONNREFUSED");
      expect(peer.alive).toBe(true);
      peer.kill(signal);
      expect(await ended(peer)).toMatchObject({ code: 0 });
    },
  );

  test("a reader of events that has seen enough ends them with 0", async () => {
    await using own = await Project.make();
    await own.worker(["-n", "seen@test", "--heartbeat-interval", "0.2"]);
    const script = `node node_modules/.bin/lovage events --json -A ./app.js | head -n 1; exit "\${PIPESTATUS[0]}"`;
    const { exitCode, stdout } = await execa("bash", ["-c", script], { cwd: own.folder.path, timeout: 90_000 });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ type: "worker-heartbeat", hostname: "seen@test" });
  });

  test("a reader that goes away ends a command quietly", async () => {
    const bin = project.folder.join("node_modules", ".bin", "lovage");
    const script = `node ${bin} list tasks -A ./app.js | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await execa("bash", ["-c", script], { cwd: project.folder.path });
    expect(stderr).toBe("");
    expect(["0", "1"]).toContain(stdout);
  });
});

test("a shell answers lines that are piped in one after the other, errors among them, and ends with 0", async () => {
  const lines = [
    "const late = await new Promise((r) => setTimeout(r, 200, 5))",
    "late + 1",
    "null.x",
    "await app.send(add, {})",
    "[",
    "7]",
  ];
  const lovage = project.folder.join("node_modules", ".bin", "lovage");
  const { stdout, exitCode } = await execa(process.execPath, [lovage, "shell", "-A", "./app.js"], {
    cwd: project.folder.path,
    input: lines.join("\n"),
    reject: false,
  });
  expect(stdout).toMatch(/^undefined\n6\nUncaught TypeError.*\nUncaught:?[\s\S]*\n\[ 7 \]$/);
  expect(exitCode).toBe(0);
});

describe("worker", () => {
  test("runs tasks, survives what they forget, and a warm stop by SIGTERM ends with 0", async () => {
    const worker = await project.worker(["-Q", "w1", "-n", "one@%h", "-c", "4"]);
    const call = (name: string, ...more: string[]) =>
      project.lovage(["call", name, "--queue", "w1", "--wait", "--timeout", "40", ...more]);
    expect(await call("shop.add", "-a", "[2, 3]")).toMatchObject({ code: 0, stdout: "5\n" });
    expect(await call("shop.add", "-k", '{"x": 9007199254740993, "y": 1}')).toMatchObject({ code: 1 });
    expect(await call("shop.forgets")).toMatchObject({ code: 0, stdout: '"done"\n' });
    await worker.waitForLog("a promise was rejected and nobody waited for it");
    const failed = await call("shop.fails");
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).toContain("TypeError: not today");
    worker.kill("SIGTERM");
    expect(await ended(worker)).toEqual({ code: 0, signal: null });
    const lines = worker
      .log()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.find(({ msg }) => msg === "starting")).toMatchObject({
      app: "shop",
      queues: ["w1"],
      concurrency: 4,
      hostname: expect.stringMatching(/^one@/),
    });
    expect(lines.find(({ msg }) => String(msg).startsWith("a promise"))).toMatchObject({
      task: "shop.forgets",
      level: 50,
    });
    expect(lines.at(-1)).toMatchObject({ msg: "stopped", succeeded: 2, failed: 2 });
  });

  test("lets what runs end after one ^C, and ends with 1 as Celery does", async () => {
    const worker = await project.worker(["-Q", "w2"]);
    const sent = await project.lovage(["call", "shop.slow", "-k", '{"seconds": 1}', "--queue", "w2"]);
    await worker.waitForLog("slow begins");
    worker.kill("SIGINT");
    expect(await ended(worker)).toEqual({ code: 1, signal: null });
    const result = await project.lovage(["result", sent.stdout.trim(), "--timeout", "30"]);
    expect(result).toMatchObject({ code: 0, stdout: "1\n" });
  });

  test("a second signal is cold, a third ends the process at once", async () => {
    const worker = await project.worker(["-Q", "w3"]);
    await project.lovage(["call", "shop.stubborn", "--queue", "w3"]);
    await worker.waitForLog("stubborn begins");
    worker.kill("SIGINT");
    await worker.waitForLog("warm shutdown");
    worker.kill("SIGTERM");
    await worker.waitForLog("cold shutdown");
    worker.kill("SIGINT");
    expect(await ended(worker)).toEqual({ code: 1, signal: null });
  });

  test("SIGQUIT cancels what runs, says so to who waits, and ends with 0", async () => {
    const worker = await project.worker(["-Q", "w4"]);
    const sent = await project.lovage(["call", "shop.slow", "-k", '{"seconds": 600}', "--queue", "w4"]);
    await worker.waitForLog("slow begins");
    worker.kill("SIGQUIT");
    expect(await ended(worker)).toEqual({ code: 0, signal: null });
    const state = await project.lovage(["result", sent.stdout.trim(), "--state"]);
    expect(state.stdout).toBe("RETRY\n");
  });

  test("an error thrown where nobody catches it is logged with its task, and stops the worker with 1", async () => {
    const worker = await project.worker(["-Q", "w5"]);
    await project.lovage(["call", "shop.throws", "--queue", "w5"]);
    expect(await ended(worker)).toEqual({ code: 1, signal: null });
    expect(worker.log()).toMatch(/"level":60,.*"task":"shop\.throws","id":"[0-9a-f-]{36}".*thrown away/);
  });

  test("goes on when nobody reads what it and its tasks print", async () => {
    const bin = project.folder.join("node_modules", ".bin", "lovage");
    const script = `exec node ${bin} worker -A ./app.js -Q w6 | true`;
    // The worker is a child of the shell: both are ended together.
    const shell = execa("bash", ["-c", script], { cwd: project.folder.path, reject: false, detached: true });
    const group = -Number(shell.pid);
    shell.stderr.on("data", (text: Buffer) => {
      if (text.includes('"msg":"ready"')) shell.stderr.destroy();
    });
    try {
      const sent = await project.lovage(["call", "shop.prints", "--queue", "w6", "--wait", "--timeout", "40"]);
      expect(sent).toMatchObject({ code: 0, stdout: '"done"\n' });
      const again = await project.lovage(["call", "shop.prints", "--queue", "w6", "--wait", "--timeout", "40"]);
      expect(again).toMatchObject({ code: 0, stdout: '"done"\n' });
    } finally {
      process.kill(group, "SIGTERM");
    }
    await shell;
    await waitFor(() => !alive(group), { describe: "the worker to end" });
  });

  test.each(["amqp", "redis"])("keeps trying while %s is away, and leaves at once when told", async (scheme) => {
    const url = `${scheme}://someone:hunter2@127.0.0.1:${await freePort()}/`;
    const { peer } = await project.start([
      "worker",
      "-A",
      "./app.js",
      "-b",
      url,
      "--result-backend",
      "redis://127.0.0.1:1/0",
    ]);
    await peer.waitForLog(/(?:ECONNREFUSED.*\n.*){3}/);
    const since = performance.now();
    peer.kill("SIGTERM");
    expect(await ended(peer)).toEqual({ code: 0, signal: null });
    expect(performance.now() - since).toBeLessThan(10_000);
    expect(peer.log()).not.toContain("hunter2");
    expect(peer.log()).not.toContain("lovage: ");
  });

  const canUnshare = process.getuid?.() === 0 && spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0;
  test.skipIf(!canUnshare)("as process 1 of a container it obeys SIGTERM", async () => {
    const bin = project.folder.join("node_modules", ".bin", "lovage");
    const node = [process.execPath, bin, "worker", "-A", "./app.js", "-Q", "w7"];
    await using unshare = await PeerProcess.start("unshare", {
      args: ["--pid", "--fork", "--kill-child", ...node],
      cwd: project.folder.path,
    });
    await unshare.waitForLog('"msg":"ready"');
    expect(unshare.log()).toContain('"pid":1,');
    const children = readFileSync(`/proc/${unshare.pid}/task/${unshare.pid}/children`, "utf8");
    process.kill(Number(children.trim()), "SIGTERM");
    expect(await ended(unshare)).toEqual({ code: 0, signal: null });
    expect(unshare.log()).toContain('"msg":"stopped"');
  });

  test("without a broker URL in production it refuses to start", async () => {
    const run = await project.lovage(["worker", "-A", "./app.js"], { env: { NODE_ENV: "production" } });
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining("no broker_url is set") });
  });
});

describe("doctor", () => {
  test("is content with the embedded default, in text and in JSON", async () => {
    const text = await project.lovage(["doctor", "-A", "./app.js"]);
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/^ok {4}versions {7}lovage \d/);
    const { stdout } = await project.lovage(["doctor", "-A", "./app.js", "--json"]);
    const findings = JSON.parse(stdout) as { check: string; verdict: string }[];
    expect(findings.map(({ check }) => check)).toEqual([
      "versions",
      "serializer",
      "serializer",
      "broker",
      "queue celery",
      "results",
    ]);
  });

  test("fails on a serializer that is not accepted, and names settings that were passed over", async () => {
    project.write("settings.json", JSON.stringify({ accept_content: [], worker_pool: "prefork" }));
    const { code, stdout } = await project.lovage(["doctor", "--config", "settings.json"]);
    expect(code).toBe(1);
    expect(stdout).toContain("FAIL  serializer     task_serializer json is not in accept_content (which is empty)");
    expect(stdout).toMatch(/^warn {2}settings {7}setting worker_pool .*passed over$/m);
  });

  test.each(["amqp", "redis"])("fails when %s is down, with the reason and without the password", async (scheme) => {
    const url = `${scheme}://someone:hunter2@127.0.0.1:${await freePort()}/`;
    const { code, stdout, stderr } = await project.lovage(["doctor", "-b", url, "--timeout", "5"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}broker .*ECONNREFUSED/m);
    expect(stdout + stderr).not.toContain("hunter2");
  });

  test("fails when the result store is down", async () => {
    const url = `redis://:hunter2@127.0.0.1:${await freePort()}/0`;
    const { code, stdout } = await project.lovage(["doctor", "--result-backend", url, "--timeout", "1"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}results /m);
    expect(stdout).not.toContain("hunter2");
  });
});
