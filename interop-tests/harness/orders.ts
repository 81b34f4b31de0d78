/** The order in which a worker takes what waited for it in one queue with several priorities. */
import { waitFor } from "../../src/testing/index.ts";
import type { CallCase, OrderCase } from "../celery/case.ts";
import { type Cell, orderQueueOf } from "./cell.ts";
import { type Instance, note, send } from "./run-cell.ts";

export async function runOrders(cell: Cell, instances: readonly Instance<OrderCase>[]): Promise<void> {
  // Each has a queue of its own.
  await Promise.all(
    instances.map(async (instance) => {
      try {
        await runOrder(cell, instance);
      } catch (error) {
        instance.report.problem ??= String(error);
      }
    }),
  );
}

async function runOrder(cell: Cell, instance: Instance<OrderCase>): Promise<void> {
  const queue = orderQueueOf(instance.direction);
  const { priorities } = instance.case;
  const ids = priorities.map((priority) => `${instance.id}-${priority}`);
  const calls = priorities.map((priority, index) => {
    const call: CallCase = {
      kind: "call",
      name: instance.case.name,
      expect: instance.case.expect,
      task: "fixture.add",
      args: "[1, 1]",
      options: { queue, priority, ignore_result: true },
    };
    return { ...instance, id: ids[index] ?? instance.id, case: call };
  });
  // One after the other: their order in the queue is part of the question.
  for (const call of calls) await send(cell, [call]);
  const taken = await (instance.direction.worker === "python"
    ? takenByPython(cell, queue, ids)
    : takenByTypescript(cell, queue, ids));
  const order = taken.map((id) => Number(id.slice(instance.id.length + 1)));
  note(instance, instance.direction.worker, { state: "SUCCESS", json: JSON.stringify(order), error: null });
}

async function takenByPython(cell: Cell, queue: string, ids: readonly string[]): Promise<string[]> {
  const mark = cell.pythonWorker.mark();
  await cell.pythonConsumes(queue, true);
  try {
    return await waitFor(
      () =>
        inOrder(
          [...cell.pythonWorker.log(mark).matchAll(/\[([^\]\s]+)\] received/g)].map(([, id]) => id ?? ""),
          ids,
        ),
      { describe: "Python to take them" },
    );
  } finally {
    await cell.pythonConsumes(queue, false);
  }
}

async function takenByTypescript(cell: Cell, queue: string, ids: readonly string[]): Promise<string[]> {
  await using _worker = await cell.startInside([queue], 1);
  return await waitFor(() => inOrder(cell.received, ids), { describe: "TypeScript to take them" });
}

function inOrder(received: readonly string[], ids: readonly string[]): string[] | null {
  const own = received.filter((id) => ids.includes(id));
  return own.length === ids.length ? own : null;
}
