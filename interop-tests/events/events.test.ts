/** What workers and clients tell, on each broker with each version of Celery; the fleets run side by side. */
import type { Fleet } from "../control/fleet.ts";
import { testFleets } from "../control/test-fleets.ts";
import { kinds } from "../faults/support.ts";
import { writesFeatures } from "../harness/feature-table.ts";
import { dumpScene } from "./dump.ts";
import { scenes } from "./scenes.ts";

const versions = ["5.7.0", "5.4.0"];
const asked = process.env.LOVAGE_TEST_EVENTS ?? "";
const columns = versions.flatMap((version) => kinds.map((kind) => `${version} ${kind}`));

const listening = {
  name: "a Receiver of Celery's hears the fleet",
  run: ({ client }: Fleet) => client.startEvents(),
};

const runs = versions.flatMap((version) =>
  kinds.map((kind) => ({
    title: `${version} ${kind}`,
    choice: { kind, version },
    steps: [listening, ...scenes, dumpScene],
  })),
);

testFleets(runs.filter(({ title }) => title.includes(asked)));

if (asked === "" && kinds.length === 2) {
  writesFeatures({
    part: "events",
    intro:
      "Each line is tried in a fleet of a Python and a TypeScript worker. The events of the same task on both are " +
      "compared as Celery's Receiver reads them: order, members, values and types.",
    columns,
    place: ([column], title) => (column === undefined || !columns.includes(column) ? null : { row: title, column }),
  });
}
