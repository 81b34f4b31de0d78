/**
 * The broker crashes and comes back while workflows of every kind run on a Celery worker and on one of ours, or on two of ours, with
 * late acks: each workflow ends with its value, and a task runs again only where a crash may have given its message, or that of one
 * before it, twice.
 */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type AnyResult, type Celery, chain, chord, group, signature, TimeoutError } from "../../src/index.ts";
import type { SettingsInput } from "../../src/settings/settings.ts";
import { type PeerProcess, startRabbitmq, startRedis } from "../../src/testing/index.ts";
import { clientOf, kinds, makeSite, type Run, type Site, startPython, startWorker } from "./support.ts";

const queue = "flows";
const ofEachKindInWave = 8;
const concurrency = { node: 4, python: 2 } as const;
type Language = keyof typeof concurrency;
const prefetchMultiplier = 2;
/** Messages that the workers hold or are sending at a time: each may come again after a crash, with all that follows from it. */
const underWay = (fleet: readonly Language[]) =>
  fleet.reduce((sum, language) => sum + 2 * prefetchMultiplier * concurrency[language], 0);
const pythonPath = ["../../python-fixtures", "./fixtures"].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/**
 * Bodies go to the default queue of whoever sends them, and every send waits for the broker as long as it takes. Celery makes three
 * retries of a null where it sends what follows a task.
 */
const common: SettingsInput = {
  task_default_queue: queue,
  task_acks_late: true,
  worker_prefetch_multiplier: prefetchMultiplier,
  task_publish_retry_policy: { max_retries: 1_000, interval_start: 0, interval_step: 0.1, interval_max: 0.2 },
};

const part = (key: string, value: number) => signature("fault.part", { args: [key, value] });
const plus = (key: string, more = 1) => signature("fault.plus", { args: [key, more] });
const gather = (key: string) => signature("fault.gather", { args: [key] });
const swap = (key: string, value: number) => signature("fault.swap", { args: [key, value] });

/** Each answers for its own keys, which begin with its key. `wanted` is what it ends with for a start value of n. */
const flows = {
  chain: {
    make: (key: string, n: number) => chain(part(`${key}-a`, n), plus(`${key}-b`), plus(`${key}-c`), plus(`${key}-d`)),
    wanted: (n: number): unknown => n + 3,
  },
  group: {
    make: (key: string, n: number) => group([part(`${key}-a`, n), part(`${key}-b`, n + 1), part(`${key}-c`, n + 2)]),
    wanted: (n: number): unknown => [n, n + 1, n + 2],
  },
  chord: {
    make: (key: string, n: number) =>
      chord([part(`${key}-a`, n), part(`${key}-b`, n), part(`${key}-c`, n)], gather(`${key}-body`)),
    wanted: (n: number): unknown => 3 * n,
  },
  chordOfChains: {
    make: (key: string, n: number) => {
      const headers = ["a", "b", "c"].map((name) => chain(part(`${key}-${name}1`, n), plus(`${key}-${name}2`)));
      return chain(chord(headers, gather(`${key}-body`)), plus(`${key}-after`));
    },
    wanted: (n: number): unknown => 3 * (n + 1) + 1,
  },
  replaced: {
    make: (key: string, n: number) => chain(swap(`${key}-a`, n), plus(`${key}-b`)),
    wanted: (n: number): unknown => n + 2,
  },
  replacedInChord: {
    make: (key: string, n: number) => chord([swap(`${key}-a`, n), part(`${key}-b`, n)], gather(`${key}-body`)),
    wanted: (n: number): unknown => 2 * n + 1,
  },
};

/** Tasks that follow one from the other. */
const longestWay = 4;

interface Sent {
  readonly key: string;
  readonly wanted: unknown;
  readonly result: Promise<AnyResult>;
}

function sendWave(app: Celery, wave: number): Sent[] {
  const sent: Sent[] = [];
  for (let index = 0; index < ofEachKindInWave; index++) {
    for (const [kind, { make, wanted }] of Object.entries(flows)) {
      const key = `${kind}-${wave}-${index}`;
      const result: Promise<AnyResult> = app.apply(make(key, 10 * index));
      // Awaited below; meanwhile the broker is away.
      result.catch(() => undefined);
      sent.push({ key, wanted: wanted(10 * index), result });
    }
  }
  return sent;
}

function startMember(site: Site, language: Language): Promise<PeerProcess> {
  const plan = { queues: [queue], concurrency: concurrency[language] };
  if (language === "node") return startWorker(site, { ...plan, settings: common });
  return startPython(site, {
    ...plan,
    settings: { ...common, ...pythonOnly(site) },
    env: { PYTHONPATH: pythonPath.join(":") },
  });
}

interface Plan {
  readonly fleet: readonly [Language, Language];
  readonly restarts: number;
  /** Workflows that may vanish. */
  readonly mayLose: number;
}

interface Broker {
  crash(): Promise<void>;
  start(): Promise<void>;
}

async function runThrough(site: Site, { fleet, restarts, mayLose }: Plan, broker: Broker): Promise<void> {
  await using app = clientOf(site, common);
  await using first = await startMember(site, fleet[0]);
  await using second = await startMember(site, fleet[1]);

  const sent = sendWave(app, 0);
  const answered = new Set<string>();
  const noteAnswers = (wave: readonly Sent[]) => {
    for (const { key, result } of wave) result.then(() => answered.add(key)).catch(() => undefined);
  };
  noteAnswers(sent);
  /** What was on its way when the broker went may have arrived, and was sent again with all its parts. */
  const sentTwice = new Set<string>();
  for (let wave = 1; wave <= restarts; wave++) {
    // In the midst of the wave before; the next is sent while the broker goes away.
    await site.ledger.reach("start", site.ledger.read("start").length + 40);
    sent.push(...sendWave(app, wave));
    noteAnswers(sent.slice(-Object.keys(flows).length * ofEachKindInWave));
    await broker.crash();
    for (const { key } of sent) if (!answered.has(key)) sentTwice.add(key);
    await broker.start();
  }
  const results = await Promise.all(
    sent.map(async ({ key, wanted, result }) => ({ key, wanted, result: await result })),
  );
  // Nothing waits and nothing is held: what has no result by then is out of the world.
  if (site.kind === "redis") await site.reach(queue, 0, 0, 120_000);
  const wrong: string[] = [];
  const lost: string[] = [];
  const look = async ({ key, wanted, result }: (typeof results)[number]) => {
    const timeout = site.kind === "redis" ? 30_000 : 90_000;
    const got: unknown = await result.get({ timeout }).catch((error: unknown) => error);
    if (JSON.stringify(got) === JSON.stringify(wanted)) return;
    const list = got instanceof TimeoutError ? lost : wrong;
    list.push(`${key}: ${got}, wanted ${wanted}; ${told(site, key)}`);
  };
  await Promise.all(results.map(look));
  expect(wrong, "workflows with another value").toEqual([]);
  expect(lost.slice(mayLose), "workflows without their value").toEqual([]);
  const mates = [first];
  if (fleet[1] === "node") mates.push(second);
  // Now and then a Celery worker whose broker went away does not end; what it holds comes to ours.
  else await second.stop({ grace: 10_000 });
  await site.endDrained(mates, queue);

  const runs = new Map<string, number>();
  for (const key of site.ledger.keys("start")) runs.set(key, (runs.get(key) ?? 0) + 1);
  const again = [...runs].filter(([, count]) => count > 1);
  const flowOf = (key: string) => key.split("-").slice(0, 3).join("-");
  const touched = new Set(again.map(([key]) => flowOf(key)).filter((key) => !sentTwice.has(key)));
  expect(touched.size, [...touched].join()).toBeLessThanOrEqual(restarts * underWay(fleet));
  // At a crash one copy of a task may be under way, and one of each before it, which brings the task once more.
  const most = (key: string) => (sentTwice.has(flowOf(key)) ? 2 : 1) * (longestWay + 1) ** restarts;
  expect(again.filter(([key, count]) => count > most(key))).toEqual([]);
  const languages = new Set(site.ledger.read("start").map(({ lang }) => lang));
  expect(languages).toEqual(new Set(fleet));
}

/** By default Celery does not know whether the broker took a message. */
function pythonOnly(site: Site): object {
  const transport = site.kind === "amqp" ? { broker_transport_options: { confirm_publish: true } } : {};
  return { imports: ["chord_tasks"], ...transport };
}

function told(site: Site, key: string): string {
  const line = ({ key: of, lang, phase }: Run) => `${of} ${lang} ${phase}`;
  return site.ledger
    .read()
    .filter((run) => run.key.startsWith(`${key}-`))
    .map(line)
    .join(", ");
}

describe("workflows", () => {
  test.skipIf(!kinds.includes("amqp"))(
    "on a mixed fleet survive a crash of RabbitMQ",
    async () => {
      await using rabbitmq = await startRabbitmq();
      await using site = await makeSite({
        kind: "amqp",
        redis: await startRedis(),
        broker: rabbitmq.url,
        api: rabbitmq.apiUrl,
      });
      await runThrough(
        site,
        { fleet: ["node", "python"], restarts: 1, mayLose: 0 },
        { crash: () => rabbitmq.stop("SIGKILL"), start: () => rabbitmq.start() },
      );
    },
    300_000,
  );

  // Kombu takes a message off Redis in one step and notes that it has it in the next: one that is between them at a crash is gone. Ours
  // does both in one, so that nothing is forgiven where Python has no part.
  test.each<[string, Plan]>([
    ["on a mixed fleet", { fleet: ["node", "python"], restarts: 2, mayLose: 2 }],
    ["of our own", { fleet: ["node", "node"], restarts: 2, mayLose: 0 }],
  ])(
    "%s survive crashes of a Redis that is the broker",
    async (_name, plan) => {
      const redis = await startRedis();
      await using broker = await startRedis({ persist: true });
      await using site = await makeSite({ kind: "redis", redis, broker: broker.database(0) });
      await runThrough(site, plan, { crash: () => broker.stop("SIGKILL"), start: () => broker.start() });
    },
    300_000,
  );
});
