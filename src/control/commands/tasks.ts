/** Commands that show tasks: what runs, waits, is scheduled, is registered. wire: celery/worker/control.py; behaviour 3.3, 3.5. */

import { isRecord } from "../../../protocol/records.ts";
import { pyRepr } from "../../../protocol/saferepr.ts";
import { PyFloat } from "../../../protocol/values.ts";
import { command } from "../command.ts";
import { isTrue, keysOf, notIterable } from "../python-values.ts";
import type { ControlState } from "../state.ts";
import type { RequestView, TaskView } from "../worker-view.ts";

/** Celery's `Request.info`. `safe`: arguments as the texts that travelled with the message. */
export function requestInfo(request: RequestView, hostname: string, safe = false): Record<string, unknown> {
  const { timeStart } = request;
  return {
    id: request.id,
    name: request.name,
    args: safe ? request.argsRepr : request.args,
    kwargs: safe ? request.kwargsRepr : request.kwargs,
    type: request.type,
    hostname,
    time_start: timeStart === null ? null : new PyFloat(timeStart),
    acknowledged: request.acknowledged,
    delivery_info: {
      exchange: request.exchange,
      routing_key: request.routingKey,
      priority: request.priority,
      redelivered: request.redelivered,
    },
    worker_pid: request.workerPid,
  };
}

export const active = command(
  {
    name: "active",
    kind: "inspect",
    alias: "dump_active",
    help: "List of tasks currently being executed.",
    parameters: "safe=False, **kwargs",
  },
  ({ worker, hostname }, { safe }) =>
    Array.from(worker.requests.list("active"), (request) => requestInfo(request, hostname, isTrue(safe))),
);

export const reserved = command(
  {
    name: "reserved",
    kind: "inspect",
    alias: "dump_reserved",
    help: "List of currently reserved tasks, not including scheduled/active.",
    parameters: "**kwargs",
  },
  ({ worker, hostname }) => Array.from(worker.requests.list("reserved"), (request) => requestInfo(request, hostname)),
);

/** Priority of ETA entries in Celery's timer. */
const ETA_PRIORITY = 6;

export const scheduled = command(
  {
    name: "scheduled",
    kind: "inspect",
    alias: "dump_schedule",
    help: "List of currently scheduled ETA/countdown tasks.",
    parameters: "**kwargs",
  },
  ({ worker, hostname }) =>
    Array.from(worker.requests.list("scheduled"), (request) => ({
      eta: request.etaIso,
      priority: ETA_PRIORITY,
      request: requestInfo(request, hostname),
    })),
);

export const queryTask = command(
  {
    name: "query_task",
    kind: "inspect",
    help: "Query for task information by id.",
    parameters: "ids, **kwargs",
    variadic: "ids",
    signature: "[id1 [id2 [... [idN]]]]",
  },
  ({ worker, hostname }, { ids }) => {
    const found = new Map<string, unknown>();
    if (ids === null) throw notIterable(ids);
    for (const id of keysOf(ids)) {
      const known = typeof id === "string" ? worker.requests.find(id) : null;
      if (known !== null) found.set(known.request.id, [known.stage, requestInfo(known.request, hostname)]);
    }
    return found;
  },
);

const DEFAULT_ITEMS = ["exchange", "routing_key", "rate_limit"];

export const registered = command(
  {
    name: "registered",
    kind: "inspect",
    alias: "dump_tasks",
    help: "List of registered tasks.",
    parameters: "taskinfoitems=None, builtins=False, **kwargs",
    variadic: "taskinfoitems",
    signature: "[attr1 [attr2 [... [attrN]]]]",
  },
  ({ worker }: ControlState, { taskinfoitems, builtins }) => {
    const items = isTrue(taskinfoitems) ? itemsOf(taskinfoitems) : DEFAULT_ITEMS;
    const tasks = Array.from(worker.tasks.list()).filter((task) => isTrue(builtins) || !task.builtin);
    tasks.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    return tasks.map((task) => described(task, items));
  },
);

/** What Python iterates over: of a text its characters, of a map its names. */
function itemsOf(given: unknown): string[] {
  const items = typeof given === "string" ? [...given] : isRecord(given) ? Object.keys(given) : given;
  if (!Array.isArray(items)) throw notIterable(given);
  return textList(items).filter((item) => !item.startsWith("_"));
}

function described(task: TaskView, items: readonly string[]): string {
  const fields = new Map<string, string>();
  for (const item of items) {
    const value = task.attribute(item);
    if (value !== null && value !== undefined) fields.set(item, typeof value === "string" ? value : pyRepr(value));
  }
  if (fields.size === 0) return task.name;
  return `${task.name} [${Array.from(fields, ([item, text]) => `${item}=${text}`).join(" ")}]`;
}

/** Celery's `maybe_list`, of texts. */
export function textList(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}
