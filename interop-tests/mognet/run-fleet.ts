/** Runs every case from every client in one fleet, all at once, and tells what each left behind. */
import { randomUUID } from "node:crypto";
import { HarnessError, waitFor } from "../../src/testing/index.ts";
import type { Case, Form, Step } from "./case.ts";
import type { GridClient, Read } from "./client.ts";
import type { Fleet, Language } from "./fleet.ts";
import { publishRaw } from "./raw.ts";
import { type Node, viewOf } from "./redis-view.ts";

export const clientNames = ["python", "typescript"] as const;

/** By client and name of the case. */
export type FleetReport = ReadonlyMap<string, Form>;
export const reportKey = (client: Language, name: string) => `${client} | ${name}`;

/** Under these names a report says what became of the queues and the workers. */
export const leftBehind = "leaves nothing in its queues";
export const alive = "answers both clients at the end";

const endMs = 60_000;
/** What has ended is there at once, however slow a client is that does many things at a time. */
const otherMs = 30_000;

/** A case that has been run, and is not yet read. */
interface Ran {
  readonly client: Language;
  readonly what: Case;
  readonly id: string;
  readonly others: ReadonlyMap<string, string>;
  readonly outcome: unknown;
}

export async function runFleet(fleet: Fleet, cases: readonly Case[]): Promise<FleetReport> {
  const all = clientNames.flatMap((client) => cases.map((what) => ({ client, what })));
  const forms = await runAll(fleet, all);
  const drained = await fleet.site.drained(queues, 30_000).then(
    () => ({ outcome: "drained" }),
    (error: unknown) => ({ outcome: { broke: String(error) } }),
  );
  const answers = await Promise.all(clientNames.map((client) => fleet.clients[client].status(2)));
  const status = { outcome: JSON.parse(JSON.stringify(answers).replaceAll(fleet.site.name, "(app)")) as unknown };
  fleet.assertAlive();
  return new Map<string, Form>([...forms, [leftBehind, drained], [alive, status]]);
}

const queues = ["tasks", "left", "right"];

interface Planned {
  readonly client: Language;
  readonly what: Case;
}

async function runAll(fleet: Fleet, all: readonly Planned[]): Promise<(readonly [string, Form])[]> {
  const ran = await inLanes(all, 60, ({ client, what }) => runCase(fleet, client, what));
  // One that is left over shows at the end.
  await fleet.site.drained(queues, 10_000).catch(() => undefined);
  fleet.assertAlive();
  return inLanes(ran, 20, async (one) => [reportKey(one.client, one.what.name), await formOf(fleet, one)] as const);
}

/** So many at a time: a client that sends a hundred requests at once is not what is tested here. */
async function inLanes<T, R>(all: readonly T[], lanes: number, act: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    while (next < all.length) {
      const index = next++;
      results[index] = await act(all[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, all.length) }, lane));
  return results;
}

async function runCase(fleet: Fleet, client: Language, what: Case): Promise<Ran> {
  const own = fleet.clients[client];
  const run = randomUUID();
  const others = new Map(Object.keys(what.raw?.others ?? {}).map((name) => [name, randomUUID()] as const));
  let id: string = randomUUID();
  let outcome: unknown;
  try {
    if (what.request !== undefined) id = await own.submit(what.request, run);
    else if (what.raw !== undefined) await publishRaw(fleet.site, what.raw, id, others);
    for (const step of what.steps ?? []) await take(fleet, client, step, { id, run });
    outcome = what.endless ? "not awaited" : await own.get(id, endMs);
  } catch (error) {
    outcome = { broke: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
  }
  return { client, what, id, others, outcome };
}

async function take(
  fleet: Fleet,
  client: Language,
  step: Step,
  { id, run }: { id: string; run: string },
): Promise<void> {
  const { site, clients } = fleet;
  const by = (who: "self" | "other"): GridClient => clients[who === "self" ? client : otherThan(client)];
  if ("until" in step) {
    const times = step.times ?? 1;
    const noted = async () => countEvents(await viewOf({ ...site, known: new Map() }, id), step.until) >= times;
    await waitFor(noted, { timeout: endMs, interval: 40, describe: `${times} × ${step.until} to be noted` });
  } else if ("state" in step) {
    const key = `${site.name}.mognet.result.${id}`;
    const seen = async () => (await site.redis.hget(key, "state")) === JSON.stringify(step.state);
    await waitFor(seen, { timeout: endMs, describe: `the state to be ${step.state}` });
  } else if ("revoke" in step) await by(step.revoke).revoke(id, step.force ?? false);
  else if ("metadata" in step) await by(step.by).setMetadata(id, step.metadata);
  else if ("open" in step) await site.notes.set(`${site.name}.gate.${run}`, "1");
  else if ("ended" in step) await by("self").get(id, endMs);
  else await publishRaw(site, step.publish, id, new Map());
}

export const otherThan = (client: Language): Language => (client === "python" ? "typescript" : "python");

export function countEvents(node: Node, event: string): number {
  const own = node.notes.filter((note) => note.event === event).length;
  return node.children.reduce((sum, child) => sum + countEvents(child, event), own);
}

async function formOf(fleet: Fleet, { client, what, id, others, outcome }: Ran): Promise<Form> {
  const { site, clients } = fleet;
  const known = new Map([...others].map(([name, other]) => [other, name] as const));
  const node = await viewOf({ ...site, known }, id);
  const settled = what.endless !== true && node.hash !== null;
  const form = {
    outcome,
    other: settled ? await clients[otherThan(client)].get(id, otherMs) : null,
    read: comparableRead(await clients[client].read(id), site.name),
    otherRead: comparableRead(await clients[otherThan(client)].read(id), site.name),
    left: withoutLanguage(node),
  };
  const text = JSON.stringify(form).replaceAll(id, "(root)").replaceAll(site.name, "(app)");
  const plain = JSON.parse(text) as typeof form;
  return what.uncounted ? uncounted(plain) : plain;
}

function comparableRead(read: Read | null, app: string): unknown {
  if (read === null) return null;
  const { parent_id: parent, node_id: node, ...rest } = read;
  return {
    ...rest,
    parent: parent !== null,
    node: node === null ? null : node.startsWith(`${app}-`) ? "(a node)" : node,
  };
}

function withoutLanguage(node: Node): unknown {
  const notes = node.notes.map(({ lang: _, ...rest }) => rest);
  return { ...node, notes, children: node.children.map(withoutLanguage) };
}

/** Which languages have run a part of it. */
export function languagesOf(node: Node): string[] {
  return [...new Set([...node.notes.map(({ lang }) => lang), ...node.children.flatMap(languagesOf)])].sort();
}

/** How often it ran was up to chance; that every start has its stop was not. */
function uncounted(form: Form): Form {
  const text = JSON.stringify(form, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null || !("number_of_starts" in value) || !("number_of_stops" in value))
      return value;
    const { number_of_starts: starts, number_of_stops: stops, ...rest } = value;
    return { ...rest, open: Number(starts) - Number(stops) };
  });
  return uncountedNotes(JSON.parse(text));
}

/** So are the hooks of each run. */
function uncountedNotes(form: unknown): Form {
  if (typeof form !== "object" || form === null) throw new HarnessError("NO_FORM", "a report has to be an object");
  return JSON.parse(
    JSON.stringify(form, (key, value: unknown) =>
      key === "notes" && Array.isArray(value)
        ? value.filter((note: { event?: string }) => note.event !== "starting")
        : value,
    ),
  ) as Form;
}
