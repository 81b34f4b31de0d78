/** A fleet that Flower looks at: one TypeScript worker in processes, one Python worker, the same tasks, events on. */
import { execFileSync } from "node:child_process";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";
import { fixturesFolder } from "../../src/testing/fixture-files.ts";
import {
  freePort,
  PeerProcess,
  type PythonClient,
  type PythonWorker,
  startNodeWorker,
  startPythonClient,
  startPythonWorker,
  testService,
  waitFor,
} from "../../src/testing/index.ts";
import { pythonEnvironment } from "../../src/testing/python-worker.ts";
import { type Kind, openSite, type Site } from "../faults/support.ts";

const python = testService("LOVAGE_TEST_PYTHON") ?? "python3";
const fixtures = fileURLToPath(new URL("./fixtures", import.meta.url));
const managementApi = testService("LOVAGE_TEST_RABBITMQ_API");

export function hasFlower(): boolean {
  try {
    execFileSync(python, ["-c", "import flower"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export interface Flower extends AsyncDisposable {
  readonly url: string;
  readonly process: PeerProcess;
  json(path: string): Promise<Record<string, Record<string, unknown>>>;
  post(path: string, form?: Record<string, string>): Promise<{ status: number; text: string }>;
}

/** Starts Flower, and resolves when it knows these workers and sees them online. */
export async function startFlower(site: Site, ...nodes: string[]): Promise<Flower> {
  const port = await freePort();
  const flower = await PeerProcess.start(python, {
    name: "flower",
    cwd: fixturesFolder(),
    args: [
      ...["-m", "celery", "-A", "patient_flower", "flower", `--port=${port}`, "--address=127.0.0.1"],
      // What it takes for lost at 1 s, a loaded machine may still answer.
      "--inspect-timeout=10000",
      ...(site.kind === "amqp" ? [`--broker-api=${managementApi}/api/`] : []),
    ],
    env: {
      ...pythonEnvironment({ broker: site.broker, backend: site.backend }, fixturesFolder()),
      PYTHONPATH: [fixturesFolder(), fixtures].join(delimiter),
      FLOWER_UNAUTHENTICATED_API: "1",
    },
  });
  const url = `http://127.0.0.1:${port}`;
  const started: Flower = {
    url,
    process: flower,
    async json(path) {
      return (await fetch(url + path)).json() as Promise<Record<string, Record<string, unknown>>>;
    },
    async post(path, form) {
      const body = form === undefined ? {} : { body: new URLSearchParams(form) };
      const answer = await fetch(url + path, { method: "POST", ...body });
      return { status: answer.status, text: await answer.text() };
    },
    [Symbol.asyncDispose]: () => flower[Symbol.asyncDispose](),
  };
  try {
    await waitFor(
      async () => {
        const known = await started.json("/api/workers?refresh=1");
        return nodes.every((node) => known[node]?.stats !== undefined);
      },
      { timeout: 120_000, describe: "Flower to know the workers" },
    );
    // It goes by their heartbeats, which come in their own time.
    await waitFor(
      async () => {
        const online: Record<string, unknown> = await started.json("/api/workers?status=1");
        return nodes.every((node) => online[node] === true);
      },
      { timeout: 120_000, describe: "Flower to see the workers online" },
    );
  } catch (error) {
    await flower[Symbol.asyncDispose]();
    throw error;
  }
  return started;
}

export interface Peer {
  readonly node: string;
  readonly queue: string;
  readonly process: PeerProcess;
}

export interface FlowerFleet extends AsyncDisposable {
  readonly site: Site;
  readonly ts: Peer;
  readonly py: Peer;
  readonly client: PythonClient;
  readonly flower: Flower;
  /** A control command by Python to one worker, and its reply. */
  ask<T>(peer: Peer, command: string, given?: object): Promise<T>;
}

/** Both workers have the same flags. */
export async function openFlowerFleet(kind: Kind, ...flags: string[]): Promise<FlowerFleet> {
  const site = await openSite(kind, { persist: false });
  const disposables: AsyncDisposable[] = [site];
  const dispose = async () => {
    for (const one of disposables.reverse()) await one[Symbol.asyncDispose]();
  };
  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposables.push(one);
    return one;
  };
  // A task with an ETA is held for longer than the hasty seconds of a site, and Python takes what comes again for another.
  const { broker_transport_options: _hasty, ...settings } = { ...site.settings, worker_pool_restarts: true };
  try {
    const [ts, py, client] = await Promise.all([
      startNodeWorker({
        module: fileURLToPath(new URL("./fixtures/flower-app.mjs", import.meta.url)),
        args: ["-P", "processes", "-Q", "ts", "-n", "ts@lovage-test", "-c", "2", "-E", "-l", "info", ...flags],
        env: { FLOWER_SETTINGS: JSON.stringify(settings) },
      }).then(keep),
      startPythonWorker({
        settings,
        queues: ["py"],
        name: "py",
        concurrency: 2,
        events: true,
        gossip: true,
        mingle: true,
        args: flags,
      }).then(keep) as Promise<PythonWorker>,
      startPythonClient({ broker: site.broker, backend: site.backend }).then(keep),
    ]);
    const peers = {
      ts: { node: "ts@lovage-test", queue: "ts", process: ts },
      py: { node: py.node, queue: "py", process: py },
    };
    const flower = keep(await startFlower(site, peers.ts.node, peers.py.node));
    return {
      ...peers,
      site,
      client,
      flower,
      async ask<T>(peer: Peer, command: string, given = {}) {
        const told = { destination: [peer.node], reply: true, timeout: 30_000, arguments: given };
        const [reply] = (await client.broadcast(command, told)) ?? [];
        return reply?.[peer.node] as T;
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
