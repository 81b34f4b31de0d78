/**
 * A worker with a pool, a Python client beside it, and what the bodies noted. The stages of a file stand one after the other on the
 * same broker, result store and Python client; each has a worker and notes of its own.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import type { SettingsInput } from "../../src/settings/settings.ts";
import {
  HarnessError,
  type PeerProcess,
  type PythonClient,
  type PythonResult,
  startNodeWorker,
  startPythonClient,
  type TempFolder,
  tempFolder,
  waitFor,
} from "../../src/testing/index.ts";
import { type Kind, openSite, type Site } from "../faults/support.ts";
import { pythonOf } from "../harness/opening.ts";

export type PoolName = "async" | "threads" | "processes";

export const QUEUE = "pooled";
export const NODE = "pooled@test";

export interface Stage extends AsyncDisposable {
  readonly site: Site;
  /** Its own, for gates and the like. */
  readonly folder: TempFolder;
  readonly worker: PeerProcess;
  readonly python: PythonClient;
  /** Python sends, waits, and says what it got. */
  call(task: string, args?: readonly unknown[], kwargs?: object, options?: object): Promise<PythonResult>;
  send(task: string, args?: readonly unknown[], kwargs?: object, options?: object): Promise<string>;
  /** Resolves when a body noted that line. */
  noted(line: string): Promise<void>;
  notes(): string[];
  /** A control command to the worker, and its reply. */
  control(command: string, given?: object): Promise<unknown>;
  /** The worker still runs tasks, and ends in order with nothing left behind. */
  endWell(): Promise<void>;
}

export interface StageOptions {
  kind: Kind;
  pool: PoolName;
  args?: readonly string[];
  settings?: SettingsInput;
  env?: Record<string, string>;
  execArgv?: readonly string[];
  /** On a ground that no other stage stands on: it does not end with empty queues. @default false */
  alone?: boolean;
  /** Celery's, of the client. @default the one that the tests run with */
  version?: string;
}

interface Ground extends AsyncDisposable {
  readonly site: Site;
  readonly python: PythonClient;
}

async function openGround(kind: Kind, version: string | undefined): Promise<Ground> {
  const site = await openSite(kind);
  const python = await startPythonClient({
    broker: site.broker,
    backend: site.backend,
    ...(version === undefined ? {} : { python: pythonOf(version) }),
  });
  return {
    site,
    python,
    async [Symbol.asyncDispose]() {
      await python[Symbol.asyncDispose]();
      await site[Symbol.asyncDispose]();
    },
  };
}

const grounds = new Map<string, Promise<Ground>>();

function groundOf(kind: Kind, version: string | undefined): Promise<Ground> {
  const key = `${kind} ${version}`;
  const ground = grounds.get(key) ?? openGround(kind, version);
  grounds.set(key, ground);
  // The next stage tries again.
  ground.catch(() => grounds.delete(key));
  return ground;
}

afterAll(async () => {
  for (const ground of grounds.values()) await (await ground)[Symbol.asyncDispose]();
});

const module = fileURLToPath(new URL("./fixtures/app.mjs", import.meta.url));

export async function openStage(options: StageOptions): Promise<Stage> {
  const { kind, pool, args = ["-c", "2"], settings = {}, env = {}, execArgv = [], alone = false, version } = options;
  const ground = alone ? await openGround(kind, version) : await groundOf(kind, version);
  const { site, python } = ground;
  const folder = await tempFolder("pools");
  const notesFile = folder.join("notes");
  const shared = { ...site.settings, ...settings };
  const worker = await startNodeWorker({
    module,
    args: ["-Q", QUEUE, "-P", pool, "-q", "-n", NODE, ...args],
    execArgv,
    env: { POOL_SETTINGS: JSON.stringify(shared), POOL_NOTES: notesFile, ...env },
    ready: /"ready"|\bready\b/,
    timeout: 60_000,
  });
  const notes = () => (existsSync(notesFile) ? readFileSync(notesFile, "utf8").split("\n").slice(0, -1) : []);
  const stage: Stage = {
    site,
    folder,
    worker,
    python,
    send: (task, given = [], kwargs = {}, more = {}) => python.send(task, given, kwargs, { queue: QUEUE, ...more }),
    async call(task, given = [], kwargs = {}, more = {}) {
      return python.get(await stage.send(task, given, kwargs, more), { timeout: 60_000 });
    },
    noted: async (line) => {
      await waitFor(() => notes().includes(line), { timeout: 60_000, describe: `the note ${line}` });
    },
    notes,
    async control(command, given = {}) {
      const replies = await python.broadcast(command, {
        arguments: given,
        destination: [NODE],
        reply: true,
        timeout: 30_000,
      });
      return replies?.[0]?.[NODE];
    },
    async endWell() {
      const sum = await stage.call("pool.add", [20, 22]);
      if (sum.raised !== undefined || sum.value !== 42)
        throw new HarnessError("NOT_WELL", `the worker is not well: ${JSON.stringify(sum)}`);
      await site.endDrained([worker], QUEUE);
    },
    async [Symbol.asyncDispose]() {
      await worker[Symbol.asyncDispose]();
      if (alone) await ground[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
  return stage;
}

/** Whether there is such a process. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
