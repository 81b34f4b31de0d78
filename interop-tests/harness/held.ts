/** Tasks that report a state of their own and hold it until the client that asked had a look. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { encodeJson } from "../../protocol/json.ts";
import { isRecord } from "../../protocol/records.ts";
import type { AsyncResult } from "../../src/index.ts";
import { waitFor } from "../../src/testing/index.ts";
import type { CallCase } from "../celery/case.ts";
import type { Cell } from "./cell.ts";
import { collect, type Instance, type Report, send } from "./run-cell.ts";

/** One after the other: with rpc, Python's wait for one result throws away the interim states of the others. */
export async function runHeld(cell: Cell, instances: readonly Instance<CallCase>[]): Promise<void> {
  for (const instance of instances) {
    const words = [...instance.words, ["$FOLDER", cell.folder] as const];
    const sent = await send(cell, [{ ...instance, words }]);
    const mark = `${cell.folder}/${instance.id}`;
    try {
      await waitFor(() => existsSync(`${mark}.started`), { describe: `${instance.case.name} to report` });
      instance.report.during = await waitFor(() => look(cell, instance.id, sent[0]?.handle ?? null), {
        describe: "the reported state to be seen",
      });
    } catch (error) {
      instance.report.problem ??= String(error);
    }
    await writeFile(`${mark}.go`, "");
    await collect(cell, sent);
  }
}

async function look(cell: Cell, id: string, handle: AsyncResult | null): Promise<Report["during"]> {
  if (handle !== null) {
    const meta = await handle.meta();
    return meta.status === "PENDING" ? null : { state: meta.status, value: encodeJson(meta.result) };
  }
  const seen: unknown = await cell.python.run(cell.rpc ? waitAndListen : readOnce, { id });
  return isRecord(seen) && seen.state !== "PENDING" ? { state: String(seen.state), value: String(seen.value) } : null;
}

const readOnce = `
from kombu.utils import json
from celery.result import AsyncResult
meta = AsyncResult(id, app=app)._get_task_meta()
answer = {"state": meta["status"], "value": json.dumps(meta["result"])}
`;

/** With rpc what a waiting client has not yet asked for is only heard, never found. */
const waitAndListen = `
from kombu.utils import json
from celery.exceptions import TimeoutError
heard = []
try:
    app.handles[id].get(timeout=0.3, on_message=heard.append)
except TimeoutError:
    pass
heard = [meta for meta in heard if meta["task_id"] == id]
answer = heard and {"state": heard[-1]["status"], "value": json.dumps(heard[-1]["result"])} or None
`;
