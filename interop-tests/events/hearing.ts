/** What Celery's Receiver, in the fleet's Python client, has heard of tasks. */
import { readFileSync } from "node:fs";
import { waitFor } from "../../src/testing/index.ts";
import type { Fleet } from "../control/fleet.ts";

export type Raw = Record<string, unknown>;

/** An event as Python read it, and of what types its members are. */
export interface HeardEvent {
  readonly value: Raw;
  readonly kind: Raw;
}

const asking = readFileSync(new URL("../control/fixtures/asking.py", import.meta.url), "utf8");

const choosing = `
import __main__
seen = list(__main__.receivers[__main__.apps.index(app)][2])
answer = [{"value": plain(e), "kind": kind(e)} for e in seen if e.get("uuid") == uuid and e.get("hostname") == hostname]`;

/** The events of one task that one node told, in the order of its clock. */
export async function eventsOf(fleet: Fleet, uuid: string, hostname: string): Promise<HeardEvent[]> {
  const found = (await fleet.client.run(asking + choosing, { uuid, hostname })) as HeardEvent[];
  return found.sort((a, b) => Number(a.value.clock) - Number(b.value.clock));
}

/** The same, once its last event has come. */
export async function lifeOf(fleet: Fleet, uuid: string, hostname: string, last: string): Promise<HeardEvent[]> {
  return waitFor(
    async () => {
      const events = await eventsOf(fleet, uuid, hostname);
      return events.some(({ value }) => value.type === last) && events;
    },
    { timeout: 30_000, interval: 50, describe: `${last} of ${uuid} from ${hostname}` },
  );
}

/** Members that differ from event to event, whoever tells it; a traceback is the language's own. */
const ofTheMoment = [
  "uuid",
  "root_id",
  "hostname",
  "clock",
  "timestamp",
  "local_received",
  "pid",
  "runtime",
  "traceback",
];

/** What two workers have to tell alike about one task. */
export function comparable(events: readonly HeardEvent[]): Raw[] {
  return events.map(({ value, kind }) => {
    const said = Object.entries(value).filter(([name]) => !ofTheMoment.includes(name));
    // Celery 5.4 says whole hours, later ones a float.
    return { ...Object.fromEntries(said), types: { ...kind, utcoffset: "number" } };
  });
}
