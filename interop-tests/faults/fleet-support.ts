/** Members of a fleet of both languages that come and go, and what they are watched by. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Celery } from "../../src/index.ts";
import type { SettingsInput } from "../../src/settings/settings.ts";
import {
  type PeerProcess,
  type PythonClient,
  startNodeWorker,
  startPythonWorker,
  waitFor,
} from "../../src/testing/index.ts";
import { fixture, type Site } from "./support.ts";

export const QUEUE = "fleet";
/** The harness gives it to Python's workers. */
export const HOST = "@lovage-test";
const pythonPath = ["../../python-fixtures", "./fixtures"].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/**
 * Where Python's tasks run. Children of `prefork` wait half a minute at some warm stops for a counter that their parent no longer
 * moves (billiard/pool.py `_ensure_messages_consumed`), which is nothing for a test that counts restarts.
 */
const pool = process.env.LOVAGE_TEST_CHURN_POOL === "prefork" ? "prefork" : "threads";

/** Seconds. With Celery's two a worker counts as lost that a busy machine has not let run for as long. */
const heartbeat = ["--heartbeat-interval", "5"];

/** Unix milliseconds between which a worker was there: it said that it was ready, and nobody had asked it to stop. */
export interface Life {
  readonly from: number;
  to: number;
}

export interface MemberChoice {
  language: "python" | "node";
  /** Node name, with `HOST`. */
  node: string;
  /** @default LOVAGE_TEST_PYTHON */
  python?: string | undefined;
  settings?: SettingsInput;
  env?: Record<string, string>;
}

/** A worker that is started again under the same name. It consumes the fleet's queue and one of its own. */
export class Member {
  readonly node: string;
  readonly language: "python" | "node";
  readonly ownQueue: string;
  readonly lives: Life[] = [];
  /** What its processes logged, one text each. */
  readonly logs: string[] = [];
  process: PeerProcess | null = null;
  #heard = false;
  readonly #site: Site;
  readonly #choice: MemberChoice;

  constructor(site: Site, choice: MemberChoice) {
    this.#site = site;
    this.#choice = choice;
    this.node = choice.node;
    this.language = choice.language;
    this.ownQueue = `own-${choice.node}`;
  }

  /** It runs, and hears what is broadcast. */
  get living(): boolean {
    return this.process !== null && this.#heard;
  }

  /** Celery on Redis says that it is ready a moment before it subscribes to its mailbox: a first ping may be lost. */
  async untilHeard(app: Celery): Promise<void> {
    const { node } = this;
    await waitFor(async () => (await app.control.ping({ destination: [node], timeout: 2 })).length > 0, {
      describe: `${node} to answer`,
      timeout: 90_000,
    });
    this.#heard = true;
  }

  /**
   * Starts it so that it knows what has been revoked. A worker that starts listens for one second to what the others tell it, in both
   * languages: where the machine let none of them answer in time it is started again. Where all of them have, it has to know.
   */
  async startTold(app: Celery, id: string, others: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.start();
      await this.untilHeard(app);
      const { node, running } = this;
      const told = await waitFor(
        async () => (await app.control.inspect({ destination: [node], timeout: 10 }).revoked())?.[node],
        { describe: `${node} to say what is revoked`, timeout: 60_000 },
      );
      if (Array.isArray(told) && told.includes(id)) return;
      const [, python, ours] = await running.waitForLog(
        /mingle: sync with (\d+) nodes|mingle: all alone|"nodes":(\d+),"msg":"mingle/,
      );
      const heard = Number(python ?? ours ?? 0);
      if (heard >= others || attempt === 5)
        throw new RangeError(`${node} was told by ${heard} others, and not of ${id}`);
      const { code } = await this.stop();
      if (code !== 0) throw new RangeError(`${node} ended with ${code}`);
    }
  }

  get running(): PeerProcess {
    if (this.process === null) throw new RangeError(`${this.node} does not run`);
    return this.process;
  }

  async start(): Promise<void> {
    const { settings: common, ledger } = this.#site;
    const { settings: own, env, python } = this.#choice;
    const settings = { ...common, ...own };
    const queues = [QUEUE, this.ownQueue];
    const process =
      this.language === "node"
        ? await startNodeWorker({
            module: fixture("app.js"),
            args: ["-Q", queues.join(","), "-n", this.node, "-c", "4", "-E", ...heartbeat],
            env: { FAULT_SETTINGS: JSON.stringify(settings), FAULT_LEDGER: ledger.path, ...env },
            ready: /"ready"/,
            timeout: 90_000,
          })
        : await startPythonWorker({
            ...(python === undefined ? {} : { python }),
            settings: { ...settings, imports: ["churn_tasks"], broker_connection_retry_on_startup: true },
            queues,
            concurrency: 2,
            pool,
            mingle: true,
            gossip: true,
            events: true,
            args: heartbeat,
            name: this.node.slice(0, -HOST.length),
            env: { FIXTURE_RECORD: ledger.path, PYTHONPATH: pythonPath.join(":"), ...env },
            timeout: 90_000,
          });
    this.lives.push({ from: Date.now(), to: Number.POSITIVE_INFINITY });
    this.process = process;
  }

  /** Stops it warm. Resolves with how it ended. */
  async stop(): Promise<{ code: number | null; signal: string | null }> {
    const process = this.running;
    this.process = null;
    this.#heard = false;
    const life = this.lives.at(-1);
    if (life !== undefined) life.to = Date.now();
    const end = await process.stop({ grace: 60_000 });
    this.logs.push(process.log());
    return end;
  }

  /** What this node should not have said, line by line. */
  complaints(): string[] {
    const logs = this.process === null ? this.logs : [...this.logs, this.process.log()];
    return logs.flatMap((text) => text.split("\n").filter((line) => BAD.test(line) || isOurError(line)));
  }
}

const BAD = /ERROR|CRITICAL|Traceback|[Mm]issed heartbeat|[Ss]ubstantial drift|"level":(?:50|60)/;

/** Something on standard error that is no line of our log: a crash, a warning of Node. */
function isOurError(line: string): boolean {
  return /^(?:\s+at .*:\d+:\d+|\w*Error\b|\(node:\d+\))/.test(line);
}

/** Who was seen alive. Unix milliseconds. */
export interface Sample {
  readonly at: number;
  /** When the latest of the events was sent that the watch had read by then: it says how the fleet was then. */
  readonly read: number;
  readonly alive: readonly string[];
}

/** Our own receiver and state, in this process. */
export async function watchWithOurs(app: Celery): Promise<() => Promise<Sample[]>> {
  const state = app.events.state();
  const samples: Sample[] = [];
  let read = 0;
  const stop = await app.events.listen((event) => {
    read = Math.max(read, event.timestamp * 1000);
    state.event(event);
  });
  await app.control.heartbeat();
  const look = () =>
    samples.push({ at: Date.now(), read, alive: state.aliveWorkers().map(({ hostname }) => hostname) });
  const timer = setInterval(look, 250);
  return async () => {
    clearInterval(timer);
    await stop();
    return samples;
  };
}

/** Celery's receiver and state, in the client's process. */
export async function watchWithPython(client: PythonClient): Promise<() => Promise<Sample[]>> {
  const folder = join(fileURLToPath(new URL("./fixtures", import.meta.url)));
  const failed = await client.run(
    "import sys\nsys.path.insert(0, folder)\nimport watch_fleet\nanswer = watch_fleet.watch(app)",
    { folder },
    { timeout: 40_000 },
  );
  if (failed !== null) throw new RangeError(`the watch did not start: ${String(failed)}`);
  return async () => {
    const seen = (await client.run("import watch_fleet\nanswer = watch_fleet.seen()", {}, { timeout: 20_000 })) as {
      failed: string | null;
      samples: [number, number, string[]][];
    };
    if (seen.failed !== null) throw new RangeError(`the watch failed: ${seen.failed}`);
    return seen.samples.map(([at, read, alive]) => ({ at: at * 1000, read: read * 1000, alive }));
  };
}

/** A newcomer is seen with its first sign of life, which may come after those that others have sent later. */
const SEEN_AFTER_MS = 1_500;
/** A watch that itself did not run for so long says nothing about what it saw then. */
const ASLEEP_MS = 1_500;

/** When a member that lived was not seen alive. */
export function absences(samples: readonly Sample[], members: readonly Member[]): string[] {
  const missing: string[] = [];
  let last = Number.NEGATIVE_INFINITY;
  let awakeSince = 0;
  for (const { at, read, alive } of samples) {
    if (at - last > ASLEEP_MS) awakeSince = at;
    last = at;
    if (at - awakeSince < SEEN_AFTER_MS) continue;
    for (const { node, lives } of members) {
      const lived = lives.some(({ from, to }) => read > from + SEEN_AFTER_MS && at < to);
      if (lived && !alive.includes(node)) missing.push(`${node} at ${new Date(at).toISOString()}`);
    }
  }
  return missing;
}

/** The lives of members, long enough to be noticed, that a watch did not see at all. */
export function unseenLives(samples: readonly Sample[], members: readonly Member[]): string[] {
  const end = samples.at(-1)?.read ?? 0;
  return members.flatMap(({ node, lives }) =>
    lives
      .filter(({ from, to }) => Math.min(to, end) - from > SEEN_AFTER_MS)
      .filter(({ from, to }) => !samples.some(({ at, read, alive }) => at > from && read < to && alive.includes(node)))
      .map(({ from }) => `${node} from ${new Date(from).toISOString()}`),
  );
}

/** Resolves when all of these ids are revoked on the node. */
export async function untilRevoked(app: Celery, node: string, ids: readonly string[]): Promise<void> {
  await waitFor(
    async () => {
      const told = await app.control.inspect({ destination: [node], timeout: 10 }).revoked();
      const known = new Set(told?.[node]);
      return ids.every((id) => known.has(id));
    },
    { describe: `${ids.length} ids to be revoked on ${node}`, timeout: 60_000 },
  );
}
