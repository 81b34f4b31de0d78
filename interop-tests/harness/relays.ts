/**
 * Retries that change the language on one queue. Only one worker consumes the queue at a time: while an attempt runs, its
 * worker stops consuming and the next one begins; then the attempt may ask for its retry.
 */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { waitFor } from "../../src/testing/index.ts";
import type { CallCase, RelayCase, Side } from "../celery/case.ts";
import type { Cell } from "./cell.ts";
import { collect, type Instance, send } from "./run-cell.ts";

export async function runRelays(cell: Cell, instances: readonly Instance<RelayCase>[]): Promise<void> {
  // Each has a queue of its own.
  await Promise.all(
    instances.map(async (instance) => {
      try {
        await runRelay(cell, instance);
      } catch (error) {
        instance.report.problem ??= String(error);
      }
    }),
  );
}

async function runRelay(cell: Cell, instance: Instance<RelayCase>): Promise<void> {
  const queue = `relay-${instance.id}`;
  const attempts = instance.case.attempts[instance.direction.name] ?? [];
  const folder = await cell.caseFolder();
  const call: CallCase = {
    kind: "call",
    name: instance.case.name,
    expect: instance.case.expect,
    task: "interop.relay",
    kwargs: JSON.stringify({ folder, hops: attempts.length }),
    options: { queue },
  };
  const stopped: Promise<void>[] = [];
  let consumer = await consume(cell, queue, attempts[0] ?? "python");
  try {
    const sent = await send(cell, [{ ...instance, case: call }]);
    if (sent.length === 0) return;
    for (const [index, side] of attempts.entries()) {
      await waitFor(() => existsSync(`${folder}/${index + 1}.started`), {
        describe: `attempt ${index + 1} to start in ${side}`,
      });
      const next = attempts[index + 1];
      if (next !== undefined && (next !== side || side === "typescript")) {
        stopped.push((await consumer.leave()).ended);
        consumer = await consume(cell, queue, next);
      }
      await writeFile(`${folder}/${index + 1}.go`, "");
    }
    await collect(cell, sent);
  } finally {
    stopped.push((await consumer.leave()).ended);
    await Promise.all(stopped);
  }
}

interface ConsumerOfQueue {
  /** Takes nothing more. `ended` is the end of what still runs, which must not be awaited before that may go on. */
  leave(): Promise<{ ended: Promise<void> }>;
}

async function consume(cell: Cell, queue: string, side: Side): Promise<ConsumerOfQueue> {
  if (side === "python") {
    await cell.pythonConsumes(queue, true);
    return {
      async leave() {
        await cell.pythonConsumes(queue, false);
        return { ended: Promise.resolve() };
      },
    };
  }
  const worker = await cell.startInside([queue]);
  return { leave: async () => ({ ended: worker.stop() }) };
}
