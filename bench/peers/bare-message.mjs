/** The headers and body that Celery's `apply_async` writes (protocol 2). */
import { hostname } from "node:os";

const origin = `gen${process.pid}@${hostname()}`;

export function headersOf(id, { task, args }) {
  return {
    lang: "py",
    task,
    id,
    shadow: null,
    eta: null,
    expires: null,
    group: null,
    group_index: null,
    retries: 0,
    timelimit: [null, null],
    root_id: id,
    parent_id: null,
    argsrepr: `(${args.join(", ")})`,
    kwargsrepr: "{}",
    origin,
    ignore_result: false,
    replaced_task_nesting: 0,
    stamped_headers: null,
    stamps: {},
  };
}

export function bodyOf({ args }) {
  return JSON.stringify([args, {}, { callbacks: null, errbacks: null, chain: null, chord: null }]);
}
