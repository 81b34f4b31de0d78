/** Runs the built `lovage` as a user's project has it: a folder of its own, the package and its command linked in. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PeerProcess, type TempFolder, tempFolder, testService, waitFor } from "../../src/testing/index.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
/** The built package; another one than the checkout's while someone else builds there. */
const built = process.env.LOVAGE_TEST_PACKAGE ?? checkout;

export const python = testService("LOVAGE_TEST_PYTHON");
export const amqpUrl = testService("LOVAGE_TEST_AMQP_URL");
export const apiUrl = testService("LOVAGE_TEST_RABBITMQ_API");
export const redisUrl = testService("LOVAGE_TEST_REDIS_URL");

/** Ends within this many milliseconds, whatever it does; the machine may be busy. */
const DEADLINE = 90_000;

export interface Run {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string | undefined>;
  /** Milliseconds. */
  deadline?: number;
}

/** A project with an app module and `node_modules` with our package. */
export class Project implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly #running: PeerProcess[] = [];

  static async make(): Promise<Project> {
    const folder = await tempFolder("cli");
    const modules = folder.join("node_modules");
    mkdirSync(join(modules, ".bin"), { recursive: true });
    symlinkSync(built, join(modules, "lovage"));
    symlinkSync(join(checkout, "node_modules", "zod"), join(modules, "zod"));
    symlinkSync("../lovage/dist/src/cli/main.js", join(modules, ".bin", "lovage"));
    const project = new Project(folder);
    project.write("package.json", JSON.stringify({ name: "shop", version: "1.0.0", type: "module" }));
    project.write("app.js", APP);
    return project;
  }

  private constructor(folder: TempFolder) {
    this.folder = folder;
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(this.folder.join(path)), { recursive: true });
    writeFileSync(this.folder.join(path), text);
  }

  /** Starts `lovage …` through the link in `.bin`, as npx and npm scripts do. Its standard output is kept apart. */
  async start(args: readonly string[], options: RunOptions = {}): Promise<Started> {
    let stdout = "";
    const peer = await PeerProcess.start(process.execPath, {
      name: `lovage ${args[0] ?? ""}`,
      args: [this.folder.join("node_modules", ".bin", "lovage"), ...args],
      cwd: this.folder.path,
      env: { NODE_ENV: undefined, LOVAGE_LOG_LEVEL: undefined, FORCE_COLOR: undefined, ...options.env },
      onStdout: (text) => {
        stdout += text;
      },
    });
    this.#running.push(peer);
    return { peer, stdout: () => stdout };
  }

  /** Runs `lovage …` to its end. */
  async lovage(args: readonly string[], options: RunOptions = {}): Promise<Run> {
    const { peer, stdout } = await this.start(args, options);
    await waitFor(() => !peer.alive, {
      timeout: options.deadline ?? DEADLINE,
      describe: `lovage ${args.join(" ")} to end`,
    });
    const { code, signal } = await peer.ended;
    return { code, signal, stdout: stdout(), stderr: peer.log() };
  }

  /** Starts a worker and waits until it is ready. */
  async worker(args: readonly string[], options: RunOptions = {}): Promise<PeerProcess> {
    const { peer } = await this.start(["worker", "-A", "./app.js", ...args], options);
    await peer.waitForLog('"msg":"ready"', { timeout: DEADLINE });
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.map((peer) => peer.stop({ signal: "SIGKILL" })));
    await this.folder[Symbol.asyncDispose]();
  }
}

export interface Started {
  peer: PeerProcess;
  stdout: () => string;
}

const APP = `
import { Celery, task } from "lovage";
import { z } from "zod";
const sleep = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
});
export const add = task("shop.add", { params: { x: z.number(), y: z.number() } }, ({ x, y }) => x + y);
export const slow = task("shop.slow", { params: { seconds: z.number() } }, async ({ seconds }, ctx) => {
  ctx.log.info({}, "slow begins");
  await sleep(seconds * 1000, ctx.signal);
  return seconds;
});
export const stubborn = task("shop.stubborn", { params: {} }, async (_params, ctx) => {
  ctx.log.info({}, "stubborn begins");
  await new Promise((resolve) => setTimeout(resolve, 600_000));
});
export const fails = task("shop.fails", { params: {} }, () => { throw new TypeError("not today"); });
export const forgets = task("shop.forgets", { params: {} }, () => { Promise.reject(new Error("forgotten")); return "done"; });
export const throws = task("shop.throws", { params: {} }, () => { setTimeout(() => { throw new Error("thrown away"); }, 1); return "done"; });
export const prints = task("shop.prints", { params: {} }, () => { console.log("printed"); return "done"; });
export const score = task("ml.score", { params: { text: z.string() } });
export const app = new Celery("shop", { tasks: [add, slow, stubborn, fails, forgets, throws, prints, score] });
// What an app leaves open must not keep a command alive.
setInterval(() => {}, 1000);
`;
