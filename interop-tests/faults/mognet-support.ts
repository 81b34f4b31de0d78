/** What the fault tests of Mognet share: sending many requests, and the accounts of what became of each. */
import { expect } from "vitest";
import { waitFor } from "../../src/testing/index.ts";
import type { RequestShape } from "../mognet/case.ts";
import type { GridClient } from "../mognet/client.ts";
import type { Site } from "../mognet/fleet.ts";

export const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_PYTHON_MOGNET !== undefined;

/** Submits so many requests, `lanes` at a time, and resolves with their ids in order. */
export async function submitMany(
  client: GridClient,
  count: number,
  shape: (index: number) => RequestShape,
  options: { lanes?: number; onSent?: (sent: number) => void } = {},
): Promise<string[]> {
  const ids: string[] = [];
  let next = 0;
  let sent = 0;
  const lane = async () => {
    while (next < count) {
      const index = next++;
      ids[index] = await client.submit(shape(index), "");
      options.onSent?.(++sent);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.lanes ?? 50, count) }, lane));
  return ids;
}

/** The ids that noted an event, as often as they did, in order. */
export async function notedIds(site: Site, event: string): Promise<string[]> {
  const lines = await site.notes.lrange(`${site.name}.notes`, 0, -1);
  return lines.map((line) => line.split(" ")).flatMap(([id = "", what]) => (what === event ? [id] : []));
}

export async function reach(site: Site, event: string, count: number, timeout = 60_000): Promise<string[]> {
  await waitFor(async () => (await notedIds(site, event)).length >= count, {
    timeout,
    interval: 30,
    describe: `${count} × ${event}`,
  });
  return notedIds(site, event);
}

export async function openGate(site: Site, gate: string): Promise<void> {
  await site.notes.set(`${site.name}.gate.${gate}`, "1");
}

/** Every one of them ends well, with that value. */
export async function expectValues(
  client: GridClient,
  ids: readonly string[],
  value: (index: number) => unknown,
  timeout = 90_000,
): Promise<void> {
  const ends = await Promise.all(ids.map((id) => client.get(id, timeout)));
  const wrong = ends.flatMap((end, index) =>
    "value" in end && JSON.stringify(end.value) === JSON.stringify(value(index))
      ? []
      : [`${ids[index]}: ${JSON.stringify(end)}`],
  );
  expect(wrong.slice(0, 5), `${wrong.length} of ${ids.length} are missing or wrong`).toEqual([]);
}

/** How often each began and stopped, as the store tells: `2/1`. */
export async function counters(client: GridClient, ids: readonly string[]): Promise<string[]> {
  const all = await Promise.all(ids.map((id) => client.read(id)));
  return all.map((one) => `${one?.number_of_starts}/${one?.number_of_stops}`);
}

/** How many there are of each. */
export function tally(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
