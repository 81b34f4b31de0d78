/** Workers die in the middle of late-acked tasks. It is the last thing a cell does, since its workers are the ones that die. */
import { existsSync } from "node:fs";
import { waitFor } from "../../src/testing/index.ts";
import type { Worker } from "../../src/worker-entry.ts";
import type { CallCase, SurvivalCase } from "../celery/case.ts";
import { type Cell, diesIn, lateQueueOf } from "./cell.ts";
import { service } from "./opening.ts";
import { collect, type Instance, send } from "./run-cell.ts";

export async function runSurvivals(cell: Cell, instances: readonly Instance<SurvivalCase>[]): Promise<void> {
  const by = (side: "python" | "typescript") => instances.filter(({ direction }) => diesIn(direction) === side);
  await kill(cell, by("typescript"), () => cell.typescriptWorker.kill("SIGKILL"));
  await kill(cell, by("python"), () => cell.pythonWorker.killGroup("SIGKILL"));
}

async function kill(cell: Cell, instances: readonly Instance<SurvivalCase>[], strike: () => void): Promise<void> {
  if (instances.length === 0) return;
  const insiders: Worker[] = [];
  try {
    const calls = await Promise.all(
      instances.map(async (instance) => {
        const folder = await cell.caseFolder();
        const call: CallCase = {
          kind: "call",
          name: instance.case.name,
          expect: instance.case.expect,
          task: "interop.survive",
          kwargs: JSON.stringify({ folder }),
          options: { queue: lateQueueOf(instance.direction) },
        };
        return { folder, instance: { ...instance, case: call } };
      }),
    );
    const sent = await send(
      cell,
      calls.map(({ instance }) => instance),
    );
    for (const { folder } of calls) {
      await waitFor(() => existsSync(`${folder}/started`), { describe: "a task to be under way" });
    }
    strike();
    for (const { direction } of instances) {
      const queue = lateQueueOf(direction);
      if (direction.worker === "python") await cell.pythonConsumes(queue, true);
      else insiders.push(await cell.startInside([queue]));
    }
    // A worker of any queue restores what another one left behind on Redis.
    if (insiders.length === 0) insiders.push(await cell.startInside(["restorer"]));
    if (cell.broker === "redis") await age(cell);
    await collect(cell, sent);
  } catch (error) {
    for (const { report } of instances) report.problem ??= String(error);
  } finally {
    await Promise.all(insiders.map((worker) => worker.stop()));
  }
}

/** Lets the visibility timeout pass for all that is unacknowledged: nobody who still runs holds anything now. */
async function age(cell: Cell): Promise<void> {
  const { Redis } = await import("ioredis");
  const client = new Redis(service("LOVAGE_TEST_REDIS_URL"), { maxRetriesPerRequest: 2 });
  try {
    const index = `${cell.redisPrefix}unacked_index`;
    for (const tag of await client.zrange(index, 0, "-1")) await client.zadd(index, "XX", "1", tag);
  } finally {
    client.disconnect();
  }
}
