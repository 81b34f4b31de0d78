/** Sends every workflow from every client into one fleet, all at once, and gathers what became of each. */
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { Redis } from "ioredis";
import { isRecord } from "../../protocol/records.ts";
import { HarnessError, pause } from "../../src/testing/index.ts";
import { service } from "../harness/opening.ts";
import { type Fleet, isThorough } from "./fleet.ts";
import { type NormalForm, type Note, normalForm } from "./normal-form.ts";
import { placed, type Sending, type Workflow } from "./shape.ts";
import { type Answer, sendFromTypescript } from "./typescript-client.ts";

export const clientNames = ["python", "typescript"] as const;
export type ClientName = (typeof clientNames)[number];

/** The name under which a report says what belongs to no workflow. */
export const unclaimed = "what belongs to no workflow";

/** By client and name of the workflow. */
export type FleetReport = ReadonlyMap<string, NormalForm>;
export const reportKey = (client: ClientName, workflow: string) => `${client} | ${workflow}`;

/** For all of a fleet together: a machine may be busy with other things. */
const getMs = 90_000;

export async function runFleet(
  fleet: Fleet,
  clients: readonly ClientName[],
  workflows: readonly Workflow[],
): Promise<FleetReport> {
  const waitsForAll = isThorough(fleet.name);
  const sendings = clients.map((client) => ({ client, all: workflows.map((one) => sendingOf(one, waitsForAll)) }));
  const answers = await Promise.all(
    sendings.map(({ client, all }) =>
      client === "python" ? sendFromPython(fleet, all) : sendFromTypescript(fleet.typescript, all, getMs),
    ),
  );
  await fleet.drained(90_000).catch((error: unknown) => {
    fleet.assertAlive();
    throw error;
  });
  const store = await settled(fleet);
  const redis = new Redis(service("LOVAGE_TEST_REDIS_URL"));
  const report = new Map<string, NormalForm>();
  const taken = new Set<string>();
  try {
    for (const [index, { client, all }] of sendings.entries()) {
      for (const [position, { name, unordered }] of workflows.entries()) {
        const { run } = all[position] as Sending;
        const lines = await redis.lrange(`canvas:${run}`, 0, -1);
        await redis.del(`canvas:${run}`);
        const notes = lines.map((line) => JSON.parse(line) as Note);
        const answer = answers[index]?.get(run) ?? {};
        const seen = gathered(run, answer, notes, store);
        for (const id of seen.stored.keys()) taken.add(id);
        for (const { id } of seen.keys) taken.add(id);
        report.set(reportKey(client, name), normalForm({ ...seen, unordered: unordered ?? false }));
      }
    }
  } finally {
    redis.disconnect();
  }
  fleet.assertAlive();
  report.set(unclaimed, unclaimedOf(store, taken));
  return report;
}

/** What stands in the store and is connected with no workflow. */
function unclaimedOf(store: Store, taken: ReadonlySet<string>): NormalForm {
  const stored = [...store.stored].filter(([id]) => !taken.has(id));
  const keys = store.keys.filter(({ id }) => !taken.has(id));
  return {
    outcome: null,
    tuple: null,
    ran: [],
    stored: stored.map(([, { name, status }]) => `${String(name)} ${String(status)}`).sort(),
    keys: keys.map(({ text }) => text).sort(),
  };
}

function sendingOf(workflow: Workflow, waitsForAll: boolean): Sending {
  const run = randomUUID().slice(0, 13);
  const id = randomUUID();
  const shape = placed(workflow.shape, run);
  const apply = JSON.parse(JSON.stringify(workflow.apply ?? {}).replaceAll("$ID", id)) as Sending["apply"];
  return { run, shape, apply, endless: workflow.ends !== undefined && !waitsForAll };
}

async function sendFromPython(fleet: Fleet, sendings: readonly Sending[]): Promise<Map<string, Answer>> {
  const sent: unknown = await fleet.python.run(
    "import canvas_client\nanswer = canvas_client.send(app, runs)",
    {
      runs: sendings,
    },
    { timeout: 120_000 },
  );
  const got: unknown = await fleet.python.run(
    "import canvas_client\nanswer = canvas_client.collect(app, seconds)",
    { seconds: getMs / 1000 },
    { timeout: getMs + 30_000 },
  );
  if (!isRecord(sent) || !isRecord(got)) throw new HarnessError("BAD_ANSWER", "Python's client did not answer");
  return new Map(
    sendings.map(({ run }): [string, Answer] => {
      const sending = sent[run];
      if (isRecord(sending) && "raised" in sending) return [run, { outcome: sending }];
      return [run, { tuple: isRecord(sending) ? sending.tuple : null, outcome: got[run] }];
    }),
  );
}

/** The result store as it stands: stored results by id, and all other keys. */
interface Store {
  readonly stored: ReadonlyMap<string, Record<string, unknown>>;
  readonly keys: readonly { readonly id: string; readonly text: string }[];
}

async function readStore(fleet: Fleet): Promise<Store> {
  return fleet.stores === "filesystem+file" ? readFiles(fleet) : readRedis(fleet);
}

/**
 * With files nothing tells that the last task has been done with, as an empty queue does elsewhere, since Kombu's have no message left
 * while it runs: they are read until they stand still.
 */
async function settled(fleet: Fleet): Promise<Store> {
  const read = async () => {
    const store = await readStore(fleet);
    return { store, text: JSON.stringify([[...store.stored].sort(), store.keys]) };
  };
  let { store, text } = await read();
  if (fleet.stores !== "filesystem+file") return store;
  for (let still = 0; still < 4; ) {
    await pause(500);
    const now = await read();
    still = now.text === text ? still + 1 : 0;
    ({ store, text } = now);
  }
  return store;
}

async function readRedis(fleet: Fleet): Promise<Store> {
  const redis = new Redis(service("LOVAGE_TEST_REDIS_URL"));
  const stored = new Map<string, Record<string, unknown>>();
  const keys: { id: string; text: string }[] = [];
  try {
    for await (const found of redis.scanStream({ match: `${fleet.prefix}*`, count: 1000 })) {
      for (const full of found as string[]) {
        const key = full.slice(fleet.prefix.length);
        const meta = /^celery-task-meta-(.+)$/.exec(key);
        const group = /^celery-taskset-meta-(.{36})(.*)$/.exec(key);
        if (meta !== null) stored.set(meta[1] ?? "", parsed(await redis.get(full)));
        if (group === null) continue;
        const ttl = await redis.ttl(full);
        // The claim of a chord that has failed is never lifted, and gone in seconds.
        if (ttl === -2 || (ttl >= 0 && ttl < 10)) continue;
        const lives = ttl < 0 ? "for ever" : ttl > 3600 ? "a day" : "minutes";
        keys.push({ id: group[1] ?? "", text: `${group[2] || "(group)"} ${await redis.type(full)} ${lives}` });
      }
    }
  } finally {
    redis.disconnect();
  }
  return { stored, keys };
}

async function readFiles(fleet: Fleet): Promise<Store> {
  const folder = new URL(String(fleet.settings.result_backend)).pathname;
  const stored = new Map<string, Record<string, unknown>>();
  const keys: { id: string; text: string }[] = [];
  for (const file of await readdir(folder)) {
    // Files on their way have a folder of their own.
    if (!file.startsWith("celery-")) continue;
    const text = await readFile(`${folder}/${file}`, "utf8");
    const meta = /^celery-task-meta-(.+)$/.exec(file);
    if (meta !== null) stored.set(meta[1] ?? "", parsed(text));
    const group = /^celery-taskset-meta-(.{36})(.*)$/.exec(file);
    if (group !== null) keys.push({ id: group[1] ?? "", text: `${group[2] || "(group)"} file` });
  }
  return { stored, keys };
}

function parsed(text: string | null): Record<string, unknown> {
  const value: unknown = JSON.parse(text ?? "null");
  return isRecord(value) ? value : { unreadable: text };
}

/** Of all that is stored, what this workflow is connected with. */
function gathered(run: string, answer: Answer, notes: readonly Note[], store: Store) {
  const ids = new Set<string>();
  const take = (value: unknown) => {
    for (const id of JSON.stringify(value ?? null).match(uuid) ?? []) ids.add(id);
  };
  take(answer.tuple);
  for (const { id, group } of notes) take([id, group]);
  const stored = new Map<string, Record<string, unknown>>();
  // A stored result names its children, and those theirs.
  for (let before = -1; before < stored.size; ) {
    before = stored.size;
    for (const id of ids) {
      const meta = store.stored.get(id);
      if (meta === undefined || stored.has(id)) continue;
      stored.set(id, meta);
      take([meta.children, meta.group_id]);
    }
  }
  const keys = store.keys.filter(({ id }) => ids.has(id));
  return { run, outcome: answer.outcome ?? null, tuple: answer.tuple ?? null, notes, stored, keys };
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
