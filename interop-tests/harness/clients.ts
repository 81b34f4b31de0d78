/** How either language's client sends what a case says. */
import { decodeJson } from "../../protocol/json.ts";
import { isRecord } from "../../protocol/records.ts";
import type { AsyncResult } from "../../src/index.ts";
import { HarnessError } from "../../src/testing/index.ts";
import type { Cell } from "./cell.ts";

export interface Outgoing {
  readonly id: string;
  readonly task: string;
  /** JSON text. */
  readonly args: string;
  readonly kwargs: string;
  /** JSON text of an object with Celery's names. */
  readonly options: string;
}

/** Sends with our client. Resolves with the handles, or with what a call threw in its place. */
export function sendFromTypescript(cell: Cell, calls: readonly Outgoing[]): Promise<(AsyncResult | Error)[]> {
  return Promise.all(
    calls.map(async ({ id, task, args, kwargs, options }) => {
      try {
        const positional = decodeJson(args, { floats: "keep" });
        const keywords = decodeJson(kwargs, { floats: "keep" });
        const wire = decodeJson(options);
        if (!Array.isArray(positional) || !isRecord(keywords) || !isRecord(wire)) {
          throw new HarnessError("BAD_CASE", `args, kwargs or options of ${task} have the wrong shape`);
        }
        const named = Object.entries(wire).map(([name, value]) => [camelCase(name), value]);
        return await cell.typescript.sendTask(task, positional, keywords, {
          ...(Object.fromEntries(named) as object),
          taskId: id,
        });
      } catch (error) {
        return error instanceof Error ? error : new HarnessError("THROWN", String(error));
      }
    }),
  );
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}

const source = `
from kombu.utils import json
from celery import signature
answer = []
# With rpc, Celery before 5.7 waits a second for each result that came before it was asked for, unless its handle was there.
is_rpc = app.conf.result_backend == "rpc://"
app.handles = getattr(app, "handles", {})
for call in calls:
    try:
        options = json.loads(call["options"])
        for name in ("link", "link_error"):
            if name in options:
                options[name] = [signature(part, app=app) for part in options[name]]
        args, kwargs = json.loads(call["args"]), json.loads(call["kwargs"])
        result = app.send_task(call["task"], args=args, kwargs=kwargs, task_id=call["id"], **options)
        if is_rpc and not result.ignored:
            app.handles[result.id] = result
            app.backend.add_pending_result(result)
        answer.append(None)
    except Exception as error:
        answer.append(repr(error))
`;

/** Sends with Celery's client. Resolves with null for each call, or with what Python raised. */
export async function sendFromPython(cell: Cell, calls: readonly Outgoing[]): Promise<(string | null)[]> {
  const answer = await cell.python.run(source, { calls });
  if (!Array.isArray(answer)) throw new HarnessError("BAD_ANSWER", "Python's client did not answer with a list");
  return answer.map((value: unknown) => (value === null ? null : String(value)));
}
