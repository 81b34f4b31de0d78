/**
 * Messages below the task layer: what no client of ours or Celery's would send. After each the worker must still answer a
 * probe, which also says that whatever the message does has been done, since one queue holds both.
 */
import { randomUUID } from "node:crypto";
import { deflateSync } from "node:zlib";
import { HarnessError } from "../../src/testing/index.ts";
import type { MessageCase } from "../celery/case.ts";
import { type Cell, queueOf } from "./cell.ts";
import { sendFromTypescript } from "./clients.ts";
import { fill, seenByPython, seenByTypescript, waitMs } from "./outcome.ts";
import { type Instance, note } from "./run-cell.ts";

export async function runMessages(cell: Cell, instances: readonly Instance<MessageCase>[]): Promise<void> {
  // Who sends bytes makes no difference to who receives them; so each worker gets each message once.
  const lanes = (["python", "typescript"] as const).map((worker) =>
    instances.filter(({ direction }) => direction.worker === worker),
  );
  await Promise.all(lanes.map((lane) => runLane(cell, lane)));
}

async function runLane(cell: Cell, instances: readonly Instance<MessageCase>[]): Promise<void> {
  for (const instance of instances) {
    try {
      cell.assertAlive(instance.direction.worker);
      await publish(cell, instance);
      await probe(cell, instance);
      if (!cell.rpc) await look(cell, instance);
    } catch (error) {
      instance.report.problem ??= String(error);
    }
  }
}

async function publish(cell: Cell, { case: one, direction, id, words }: Instance<MessageCase>): Promise<void> {
  const own = one.headers === undefined || one.headers === null ? {} : one.headers;
  const task = one.headers === null ? {} : { lang: "py", task: "fixture.echo", id };
  const plain = typeof one.body === "string" ? Buffer.from(fill(one.body, words)) : Buffer.from(one.body);
  const body = one.deflate ? deflateSync(plain) : plain;
  const headers = JSON.parse(fill(JSON.stringify({ ...task, ...own }), words)) as Record<string, unknown>;
  await cell.python.publish({
    routing_key: queueOf(direction.worker),
    body_base64: body.toString("base64"),
    headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== "$ABSENT")),
    properties: { correlation_id: id },
    ...(one.contentType === null ? {} : { content_type: one.contentType ?? "application/json" }),
    ...(one.contentEncoding === null ? {} : { content_encoding: one.contentEncoding ?? "utf-8" }),
  });
}

async function probe(cell: Cell, { direction, case: one }: Instance<MessageCase>): Promise<void> {
  const options = JSON.stringify({ queue: queueOf(direction.worker) });
  const [handle] = await sendFromTypescript(cell, [
    { id: randomUUID(), task: "fixture.add", args: "[1, 2]", kwargs: "{}", options },
  ]);
  if (handle === undefined || handle instanceof Error) throw handle ?? new HarnessError("NO_PROBE", "nothing was sent");
  const ended = cell.peer(direction.worker).ended.then(() => cell.assertAlive(direction.worker));
  const value = await Promise.race([handle.get({ timeout: waitMs }), ended]);
  if (value !== 3) throw new HarnessError("BAD_PROBE", `after ${one.name} the worker answered ${String(value)}`);
}

async function look(cell: Cell, instance: Instance<MessageCase>): Promise<void> {
  const absent = instance.case.expect.absent === true;
  note(instance, "typescript", await seenByTypescript(cell.typescript.result(instance.id), absent));
  note(instance, "python", await seenByPython(cell.python, instance.id, absent));
}
