/** Chords over a fleet of both languages whose workers are killed and replaced: every body runs, and twice only where late acks say so. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type AsyncResult, type Celery, chord, signature, TimeoutError } from "../../src/index.ts";
import type { SettingsInput } from "../../src/settings/settings.ts";
import { type PeerProcess, waitFor } from "../../src/testing/index.ts";
import { clientOf, kinds, openSite, type Run, type Site, startPython, startWorker } from "./support.ts";
import { Takings } from "./takings.ts";

const chordCount = 500;
const headerSize = 4;
const queue = "chords";
/** In each wave one worker is killed after that many runs; Python and TypeScript die in turn. */
const waves = 10;
const runsBeforeKill = 60;
/** What a Celery worker can take with it: what its two processes run and have fetched, and a message on its way. */
const heldByPython = 5;
const pythonPath = ["../../python-fixtures", "./fixtures"].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/**
 * Bodies go to the default queue of whoever sends them. A claim lives for as long as publishing may take with all its retries: 11
 * seconds with this patience, 21 by default.
 */
const common: SettingsInput = { task_default_queue: queue, broker_connection_timeout: 2 };
/** Celery's alone: the module with the tasks. */
const pythonImports: object = { imports: ["chord_tasks"] };

type Language = "python" | "node";

interface Member {
  readonly language: Language;
  worker: PeerProcess;
}

async function startMember(site: Site, language: Language): Promise<PeerProcess> {
  const settings: SettingsInput = { ...common, task_acks_late: true, worker_prefetch_multiplier: 2 };
  if (language === "node") return startWorker(site, { queues: [queue], concurrency: 4, settings });
  return startPython(site, {
    queues: [queue],
    concurrency: 2,
    settings: { ...settings, ...pythonImports },
    env: { PYTHONPATH: pythonPath.join(":") },
  });
}

const bodyKey = (index: number) => `body-${index}`;
const partKey = (index: number, part: number) => `part-${index}-${part}`;
const keysOf = (index: number) => [
  bodyKey(index),
  ...Array.from({ length: headerSize }, (_, part) => partKey(index, part)),
];

function sendChord(app: Celery, index: number): Promise<AsyncResult> {
  const header = Array.from({ length: headerSize }, (_, part) =>
    signature("fault.part", { args: [partKey(index, part), index + part] }),
  );
  return app.apply(chord(header, signature("fault.gather", { args: [bodyKey(index)] })));
}

describe.each(kinds)("chords of a fleet whose workers are killed, on %s", (kind) => {
  test(`of ${chordCount} none loses its body, and none runs it again without a part that ran again`, async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site, common);
    await using fleet = new Fleet(site);
    await using takings = kind === "redis" ? await Takings.watch(site.broker, /part-\d+-\d+|body-\d+/g) : null;
    await Promise.all([fleet.add("node"), fleet.add("python"), fleet.add("node"), fleet.add("python")]);

    const results: AsyncResult[] = [];
    for (let wave = 0; wave < waves; wave++) {
      const reached = fleet.afterRuns(runsBeforeKill);
      const size = chordCount / waves;
      const sent = Array.from({ length: size }, (_, index) => sendChord(app, wave * size + index));
      await reached;
      await fleet.replaceNext();
      results.push(...(await Promise.all(sent)));
    }

    // Or nothing has been watched.
    if (takings !== null) expect(takings.size).toBeGreaterThan(chordCount);
    const right = (index: number) => headerSize * index + 6;
    // Whose result does not come; the others have the right one.
    const without = async (indexes: readonly number[], timeout: number): Promise<number[]> => {
      const late: number[] = [];
      const look = async (index: number) => {
        const got = await results[index]?.get({ timeout }).catch((error: unknown) => error);
        if (got instanceof TimeoutError) late.push(index);
        else expect(got, bodyKey(index)).toBe(right(index));
      };
      await Promise.all(indexes.map(look));
      return late;
    };
    // The claim of a killed worker lapses, and its messages come again before or after that.
    let late = await without([...results.keys()], 20_000);
    const lost: number[] = [];
    // Seen twice: a message may be on its way between Celery's two steps.
    let suspects: readonly number[] = [];
    for (let looks = 0; late.length > 0 && looks < 12; looks++) {
      const runs = byKey(site.ledger.read("start"));
      const seen = await vanished(takings, late);
      const gone = late.filter(
        (index) =>
          givenUpByCelery(fleet, runsOfParts(runs, index)) || (suspects.includes(index) && seen.includes(index)),
      );
      suspects = seen;
      lost.push(...gone);
      late = await without(
        late.filter((index) => !gone.includes(index)),
        8_000,
      );
    }
    const told = late.map((index) => known(takings, index, site, fleet));
    expect(told, "chords without a result").toEqual([]);
    const pythonKilled = fleet.killed.filter(({ language }) => language === "python").length;
    expect(lost.length, "lost by Celery").toBeLessThanOrEqual(pythonKilled * heldByPython);

    const allRuns = byKey(site.ledger.read("start"));
    for (let index = 0; index < chordCount; index++) {
      const bodies = allRuns.get(bodyKey(index)) ?? [];
      if (bodies.length <= 1) continue;
      const parts = runsOfParts(allRuns, index).map(({ length }) => length);
      const redelivered = fleet.hasKilled(bodies.slice(0, -1)) || parts.some((count) => count > 1);
      expect(redelivered, `${bodyKey(index)} ran ${bodies.length} times, its parts ${parts}`).toBe(true);
    }
    await site.endDrained(fleet.workers, queue);
  }, 400_000);
});

function byKey(runs: readonly Run[]): Map<string, Run[]> {
  const map = new Map<string, Run[]>();
  for (const run of runs) map.set(run.key, [...(map.get(run.key) ?? []), run]);
  return map;
}

function runsOfParts(runs: ReadonlyMap<string, Run[]>, index: number): Run[][] {
  return Array.from({ length: headerSize }, (_, part) => runs.get(partKey(index, part)) ?? []);
}

/**
 * A Celery worker that is killed with the claim on a chord: that is mended when the part comes again to a TypeScript worker, which
 * waits for the claim to lapse, and not when a Celery worker gets it, which gives up.
 */
function givenUpByCelery(fleet: Fleet, parts: readonly (readonly Run[])[]): boolean {
  return parts.some((runs) => {
    const [first] = runs;
    const last = runs.at(-1);
    if (first === undefined || last === undefined) return false;
    return first.lang === "python" && fleet.hasKilled([first]) && last.lang === "python";
  });
}

/** Chords of which a message is out of the world, popped by a Celery worker that was killed before it marked it as taken. */
async function vanished(takings: Takings | null, late: readonly number[]): Promise<number[]> {
  const missing = await Promise.all(late.map((index) => takings?.vanished(queue, keysOf(index)) ?? []));
  return late.filter((_, at) => (missing[at] ?? []).length > 0);
}

/** What is known of the messages of a chord: who ran them, how often they were sent and taken. */
function known(takings: Takings | null, index: number, site: Site, fleet: Fleet): string {
  const runs = byKey(site.ledger.read("start"));
  const told = keysOf(index).map((key) => {
    const ran = (runs.get(key) ?? []).map((run) => `${run.lang}${fleet.hasKilled([run]) ? " (killed)" : ""}`);
    return `${key} ran in [${ran}]${takings === null ? "" : `, ${takings.told(key)}`}`;
  });
  return told.join("; ");
}

/** Process ids of a process's children. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return text.split(" ").filter(Boolean).map(Number);
}

class Fleet implements AsyncDisposable {
  /** Process ids, of Python the main process. */
  readonly killed: { language: Language; pid: number }[] = [];
  /** Whose runs may have gone unacknowledged: the pids in the ledger of those that were killed. */
  readonly #gone = new Set<number>();
  readonly #site: Site;
  readonly #members: Member[] = [];

  constructor(site: Site) {
    this.#site = site;
  }

  get workers(): PeerProcess[] {
    return this.#members.map(({ worker }) => worker);
  }

  async add(language: Language): Promise<void> {
    this.#members.push({ language, worker: await startMember(this.#site, language) });
  }

  /** Some of these runs were of a process that has been killed. */
  hasKilled(runs: readonly Run[]): boolean {
    return runs.some(({ pid }) => this.#gone.has(pid));
  }

  /** Resolves when so many more runs have begun. */
  async afterRuns(count: number): Promise<void> {
    const until = this.#site.ledger.read("start").length + count;
    await waitFor(() => this.#site.ledger.read("start").length >= until, {
      timeout: 60_000,
      interval: 5,
      describe: `${until} runs`,
    });
  }

  /** Kills the next one, which has no time to say anything, and starts another in its place. */
  async replaceNext(): Promise<void> {
    const member = this.#members[this.killed.length % this.#members.length] as Member;
    const { pid } = member.worker;
    const family = await childrenOf(pid);
    member.worker.killGroup("SIGKILL");
    await member.worker.ended;
    this.killed.push({ language: member.language, pid });
    for (const one of [pid, ...family]) this.#gone.add(one);
    member.worker = await startMember(this.#site, member.language);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker[Symbol.asyncDispose]()));
  }
}
