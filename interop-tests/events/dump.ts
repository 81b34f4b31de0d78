/** `celery events --dump` beside `lovage events --dump`: both programs print the same line for the same event. */
import { join } from "node:path";
import { expect } from "vitest";
import { packageRoot } from "../../src/testing/fixture-files.ts";
import { PeerProcess, waitFor } from "../../src/testing/index.ts";
import { type Fleet, PY_QUEUE, TS_QUEUE } from "../control/fleet.ts";
import type { Step } from "../control/test-fleets.ts";
import { pythonOf } from "../harness/opening.ts";

export const dumpScene: Step = {
  name: "`celery events --dump` and `lovage events --dump` print the same lines",
  run: dump,
};

async function dump(fleet: Fleet): Promise<void> {
  const { client, site, ts, py } = fleet;
  const cli = join(packageRoot(), "dist", "src", "cli", "main.js");
  const started = await Promise.all([
    PeerProcess.start(pythonOf(fleet.version), {
      name: "celery-dump",
      args: ["-m", "celery", "-b", site.broker, "--no-color", "events", "--dump"],
      env: { PYTHONUNBUFFERED: "1" },
    }),
    PeerProcess.start(process.execPath, {
      name: "lovage-dump",
      args: [cli, "-b", site.broker, "events", "--dump"],
      env: { NO_COLOR: "1" },
    }),
  ]);
  try {
    await Promise.all(started.map((program) => program.waitForLog(/evdump: starting capture|heartbeat/)));
    const ids: string[] = [];
    // The line that says so comes a moment before it listens.
    const reads = await waitFor(
      async () => {
        for (const queue of [TS_QUEUE, PY_QUEUE])
          ids.push(await client.send("fleet.add", [ids.length, 1], {}, { queue }));
        const found = ids.filter((id) => started.every((program) => linesOf(program, id).length === 3));
        return [ts, py].every((node) => found.some((id) => linesOf(started[0], id)[0]?.startsWith(node))) && found;
      },
      { timeout: 30_000, interval: 300, describe: "both programs to have printed a task of each worker" },
    );
    for (const id of reads) expect(linesOf(started[1], id)).toEqual(linesOf(started[0], id));
  } finally {
    await Promise.all(started.map((program) => program[Symbol.asyncDispose]()));
  }
}

/** What a program has printed of a task; when it heard it is its own affair. */
function linesOf(program: PeerProcess, id: string): string[] {
  // The last one may not be whole yet.
  const lines = program.log().split("\n").slice(0, -1);
  return lines
    .filter((line) => line.includes(id))
    .map((line) =>
      line
        .replace(/local_received=[\d.]+/, "")
        // Celery 5.4 prints no zone, and what is whole as it came.
        .replace("+00:00]", "]")
        .replace("utcoffset=0.0", "utcoffset=0"),
    );
}
