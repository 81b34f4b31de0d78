/** Tasks that report a state of their own and hold it until both clients had a look. */

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { encodeJson } from "../../protocol/json.ts";
import { waitFor } from "../../src/testing/index.ts";
import type { CallCase } from "../celery/case.ts";
import type { Cell } from "./cell.ts";
import { collect, type Instance, send } from "./run-cell.ts";

export async function runHeld(cell: Cell, instances: readonly Instance<CallCase>[]): Promise<void> {
  const inFolder = instances.map((instance) => ({
    ...instance,
    words: [...instance.words, ["$FOLDER", cell.folder] as const],
  }));
  const sent = await send(cell, inFolder);
  for (const { instance, handle } of sent) {
    const mark = `${cell.folder}/${instance.id}`;
    try {
      await waitFor(() => existsSync(`${mark}.started`), { describe: `${instance.case.name} to report` });
      instance.report.during = await waitFor(() => lookAt(cell, instance, handle), {
        describe: "the reported state to be seen",
      });
    } catch (error) {
      instance.report.problem = String(error);
    }
    await writeFile(`${mark}.go`, "");
  }
  await collect(cell, sent);
}

/** As the client that sent it sees it. */
async function lookAt(cell: Cell, instance: Instance, handle: Awaited<ReturnType<typeof send>>[number]["handle"]) {
  if (handle !== null) {
    const meta = await handle.meta();
    return meta.status === "PENDING" ? null : { state: meta.status, value: encodeJson(meta.result) };
  }
  const { state, info } = await cell.python.state(instance.id);
  return state === "PENDING" ? null : { state, value: "json" in info ? String(info.json) : info.repr };
}
