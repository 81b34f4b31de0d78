/** Commands that call tasks back. wire: celery/worker/control.py `revoke`, `revoke_by_stamped_headers`; behaviour 3.3. */
import { constants } from "node:os";
import { isRecord } from "../../../protocol/records.ts";
import { pyRepr } from "../../../protocol/saferepr.ts";
import { command } from "../command.ts";
import { CommandError } from "../errors.ts";
import { isTrue, keysOf, noAttribute, typeName } from "../python-values.ts";
import { type ControlState, ok } from "../state.ts";

/** More ids in one message are refused: they would not fit into the revoked set either. */
const MOST_IDS = 100_000;
/** Characters of an id; over AMQP no task could have a longer one. */
const LONGEST_ID = 1_000;

export const revoke = command(
  {
    name: "revoke",
    kind: "control",
    help: "Revoke task by task id (or list of ids).",
    parameters: "task_id, terminate=False, signal=None, **kwargs",
    variadic: "task_id",
    signature: "[id1 [id2 [... [idN]]]]",
  },
  (state, { task_id: ids, terminate, signal }) => revokeIds(state, ids, isTrue(terminate), signal),
);

export const terminate = command(
  {
    name: "terminate",
    kind: "control",
    help: "Terminate task by task id (or list of ids).",
    parameters: "signal, task_id, **kwargs",
    args: [["signal", "str"]],
    variadic: "task_id",
    signature: "<signal> [id1 [id2 [... [idN]]]]",
  },
  (state, { task_id: ids, signal }) => revokeIds(state, ids, true, signal),
);

function revokeIds({ worker, log }: ControlState, given: unknown, terminates: boolean, signal: unknown): unknown {
  const keys = [...new Set(given === null ? [] : keysOf(given))];
  const ids = keys.filter((id) => typeof id === "string");
  if (ids.length > MOST_IDS) throw new CommandError("ValueError", [`more than ${MOST_IDS} ids in one message`]);
  if (ids.some((id) => id.length > LONGEST_ID)) {
    throw new CommandError("ValueError", [`an id of more than ${LONGEST_ID} characters`]);
  }
  const name = terminates ? signalName(signal) : null;
  // The reply does not wait for the result store: a flood of revokes must not hold it up.
  const known = name === null ? [] : worker.revokes.terminate(ids, name);
  worker.revokes.revoke(ids).catch((error: unknown) => log.error({ err: error }, "REVOKED could not be stored"));
  if (name === null) {
    // As Celery answers it: those that are ids have been revoked.
    const odd = keys.findIndex((id) => typeof id !== "string");
    if (odd < 0) return ok(`tasks ${setText(ids)} flagged as revoked`);
    const words = `sequence item ${odd}: expected str instance, ${typeName(keys[odd])} found`;
    throw new CommandError("TypeError", [words]);
  }
  return known.length === 0 ? ok("terminate: tasks unknown") : ok(`terminate: ${known.join(", ")}`);
}

export const revokeByStampedHeaders = command(
  {
    name: "revoke_by_stamped_headers",
    kind: "control",
    help: "Revoke task by header (or list of headers).",
    parameters: "headers, terminate=False, signal=None, **kwargs",
    variadic: "headers",
    signature: "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
  },
  ({ worker }, { headers: given, terminate: terminates, signal }) => {
    const name = signalName(signal);
    const headers = Array.isArray(given) ? pairs(given) : given;
    if (!isRecord(headers)) throw noAttribute(headers, "items");
    const stamps = new Map(Object.entries(headers).map(([header, value]) => [header, listOf(value)] as const));
    worker.revokes.revokeStamps(stamps);
    const shown = pyRepr(headers);
    if (!isTrue(terminates)) return ok(`headers ${shown} flagged as revoked, but not terminated`);
    const matched = worker.revokes.terminateStamped(stamps, name);
    if (matched.size === 0) return ok(`headers ${shown} were not terminated`);
    const sets = Array.from(matched, ([header, values]) => `${pyRepr(header)}: ${setText(values)}`);
    return ok(`headers defaultdict(<class 'set'>, {${sets.join(", ")}}) revoked`);
  },
);

/** `key=value` of the command line; what has no `=` is an error there. */
function pairs(list: readonly unknown[]): Record<string, string> {
  const headers = new Map<string, string>();
  for (const item of list) {
    if (typeof item !== "string") throw noAttribute(item, "split");
    const [name = "", value] = item.split("=");
    if (value === undefined) throw new CommandError("IndexError", ["list index out of range"]);
    headers.set(name, value);
  }
  return Object.fromEntries(headers);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : value === null || value === undefined ? [] : [value];
}

/** A Python set as text, of what was given, in its order. */
export function setText(values: readonly unknown[]): string {
  return values.length === 0 ? "set()" : `{${values.map(pyRepr).join(", ")}}`;
}

/** `TERM`, `sigterm` and 15 are SIGTERM, which is the default. wire: celery/platforms.py `Signals.signum`. */
export function signalName(value: unknown): string {
  if (!isTrue(value)) return "SIGTERM";
  if (value === true || Number.isInteger(value)) {
    const known = Object.entries(constants.signals).find(([, number]) => number === Number(value));
    if (known !== undefined) return known[0];
    throw new CommandError("ValueError", [`there is no signal ${String(value)}`]);
  }
  const noName = () => new CommandError("TypeError", ["signal name must be uppercase string."]);
  if (typeof value !== "string") throw noName();
  const upper = value.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  if (!Object.hasOwn(constants.signals, name)) {
    if (value !== upper || value === value.toLowerCase()) throw noName();
    throw new CommandError("AttributeError", [`module 'signal' has no attribute '${name}'`]);
  }
  return name;
}
