/** What a stamp cannot be called. wire: celery/canvas.py `apply_async`; celery/app/base.py `send_task`, whose parameters these are. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { dict, structured } from "../settings/kinds.ts";

/**
 * Stamps stand among the options of a signature. One that is called like a parameter of Celery's `send_task` is taken out as that,
 * and the message then fails with a `KeyError`, there or in whoever sends the next step of a chain.
 */
const TAKEN: ReadonlySet<string> = new Set([
  "add_to_parent",
  "args",
  "argsrepr",
  "chain",
  "chord",
  "connection",
  "countdown",
  "eta",
  "expires",
  "group_id",
  "group_index",
  "ignore_result",
  "immutable",
  "kwargs",
  "kwargsrepr",
  "link",
  "link_error",
  "name",
  "origin",
  "parent_id",
  "producer",
  "publisher",
  "queue",
  "replaced_task_nesting",
  "reply_to",
  "result_cls",
  "retries",
  "root_id",
  "route_name",
  "router",
  "shadow",
  "soft_time_limit",
  "task_id",
  "task_type",
  "time_limit",
]);

/** Throws `ImproperlyConfigured` for a name that cannot be one of a stamp, and for a value that cannot travel. Where `stamped_headers` says which are stamps, others are options. */
export function checkStampNames(stamps: Readonly<Record<string, unknown>>, at: string): void {
  const { stamped_headers: said } = stamps;
  const names = said === undefined ? Object.keys(stamps) : Array.isArray(said) ? said : [said];
  for (const [name, value] of Object.entries(stamps)) {
    if (typeof value !== "function" && typeof value !== "symbol") continue;
    throw new ImproperlyConfigured(`${at}: the stamp ${name} is a ${typeof value}, which no message can carry`);
  }
  for (const name of names) {
    if (!TAKEN.has(String(name))) continue;
    throw new ImproperlyConfigured(`${at}: ${name} is an option of every task, and cannot be the name of a stamp`);
  }
}

/** An object of stamps by their names. */
export const stampsByName = structured("an object", (value, at) => {
  const stamps = dict.parse(value, at);
  checkStampNames(stamps, at);
  return stamps;
});
