/** The payload of a task message. wire: Mognet 2.0.0 primitives/request.py, as pydantic 2 reads and writes it. */
import { DecodeError, EncodeError } from "../errors.ts";
import { isRecord, kindOf } from "../records.ts";
import { PyFloat } from "../values.ts";
import { decodeMognetDeadline, encodeMognetDeadline, type MognetDeadline } from "./deadline.ts";
import { encodeCompactJson } from "./json-text.ts";
import { mognetIdOrNull } from "./names.ts";

/** A request for a task, complete, in camelCase. wire: Mognet 2.0.0 primitives/request.py. */
export interface MognetRequest {
  id: string;
  /** Name of the task. */
  name: string;
  /** Without the leading context. */
  args: readonly unknown[];
  kwargs: Readonly<Record<string, unknown>>;
  /** Ids of the ancestors, root first, direct parent last. */
  stack: readonly string[];
  metadata: Readonly<Record<string, unknown>>;
  deadline: MognetDeadline | null;
  /** Overrides the route; without the application's prefix. */
  queueName: string | null;
  kwargsRepr: string | null;
  /** 0 to 10, higher is sooner. Default 5. */
  priority: number;
}

/** The priority of a request that names none, of 0 to 10; RabbitMQ serves higher ones first. */
export const MOGNET_DEFAULT_PRIORITY = 5;

/** A request with Mognet's defaults for what is not given. */
export function newMognetRequest(parts: Pick<MognetRequest, "id" | "name"> & Partial<MognetRequest>): MognetRequest {
  return {
    args: [],
    kwargs: {},
    stack: [],
    metadata: {},
    deadline: null,
    queueName: null,
    kwargsRepr: null,
    priority: MOGNET_DEFAULT_PRIORITY,
    ...parts,
  };
}

/** What a hook may have made of a request: Python acks what it cannot read, and the request would be lost. */
function demandReadable({ args, kwargs, stack, metadata, queueName, kwargsRepr, priority }: MognetRequest): void {
  if (!Number.isInteger(priority) || priority < 0 || priority > 10) {
    throw new EncodeError(`a priority is a whole number from 0 to 10, not ${priority}`);
  }
  const wrong = (what: string, value: unknown): never => {
    throw new EncodeError(`a request whose ${what} cannot be of kind ${kindOf(value)} or has a wrong value`);
  };
  if (!Array.isArray(args)) wrong("args", args);
  if (!hasMembers(kwargs)) wrong("kwargs", kwargs);
  if (!hasMembers(metadata)) wrong("metadata", metadata);
  if (!Array.isArray(stack) || !stack.every((id) => typeof id === "string" && mognetIdOrNull(id) !== null))
    wrong("stack", stack);
  if (queueName !== null && typeof queueName !== "string") wrong("queueName", queueName);
  if (kwargsRepr !== null && typeof kwargsRepr !== "string") wrong("kwargsRepr", kwargsRepr);
}

/** What JSON writes as an object, of whatever class and realm. */
function hasMembers(value: unknown): boolean {
  return /^\[object (?:Object|Map)\]$/.test(Object.prototype.toString.call(value));
}

/** The JSON text of the payload, byte-equal to Python's. Throws `EncodeError` for what has no form or Python would refuse. */
export function encodeMognetRequestPayload(request: MognetRequest): string {
  demandReadable(request);
  const { priority, deadline } = request;
  return encodeCompactJson({
    id: request.id,
    name: request.name,
    args: request.args,
    kwargs: request.kwargs,
    stack: request.stack,
    metadata: request.metadata,
    deadline: deadline === null ? null : encodeMognetDeadline(deadline),
    queue_name: request.queueName,
    kwargs_repr: request.kwargsRepr,
    priority,
  });
}

/** `freshId` stands for an absent id, as in Mognet; such a request has no result. Throws `DecodeError` where Python refuses. */
export function decodeMognetRequestPayload(
  payload: Readonly<Record<string, unknown>>,
  freshId: () => string,
): MognetRequest {
  const { id, name, args = [], kwargs = {}, stack = [], metadata = {}, deadline = null } = payload;
  const { queue_name: queueName = null, kwargs_repr: kwargsRepr = null } = payload;
  if (typeof name !== "string") throw refused("name", name);
  if (!Array.isArray(args)) throw refused("args", args);
  if (!isRecord(kwargs)) throw refused("kwargs", kwargs);
  if (!Array.isArray(stack)) throw refused("stack", stack);
  if (!isRecord(metadata)) throw refused("metadata", metadata);
  if (queueName !== null && typeof queueName !== "string") throw refused("queue_name", queueName);
  if (kwargsRepr !== null && typeof kwargsRepr !== "string") throw refused("kwargs_repr", kwargsRepr);
  return {
    id: id === undefined ? freshId() : readId("id", id),
    name,
    args,
    kwargs,
    stack: stack.map((ancestor: unknown) => readId("stack", ancestor)),
    metadata,
    deadline: deadline === null ? null : decodeMognetDeadline(deadline),
    queueName,
    kwargsRepr,
    priority: readPriority(payload.priority),
  };
}

function readId(field: string, value: unknown): string {
  const id = typeof value === "string" ? mognetIdOrNull(value) : null;
  if (id === null) throw refused(field, value);
  return id;
}

function readPriority(value: unknown): number {
  if (value === undefined) return MOGNET_DEFAULT_PRIORITY;
  const number = pydanticInt(value);
  if (number === null || number < 0 || number > 10) throw refused("priority", value);
  return number;
}

/** What pydantic's lax mode makes of a value where an int belongs; null where it refuses. */
export function pydanticInt(value: unknown): number | null {
  if (typeof value === "boolean") return Number(value);
  const number =
    value instanceof PyFloat
      ? value.value
      : typeof value === "string" && /^\s*[+-]?\d+(?:_\d+)*(?:\.0+)?\s*$/.test(value)
        ? Number(value.replaceAll("_", ""))
        : value;
  // wire: a float is taken up to 64 bits.
  return typeof number === "number" && Number.isInteger(number) && Math.abs(number) < 2 ** 63 ? number + 0 : null;
}

function refused(field: string, value: unknown): DecodeError {
  const what = value === undefined ? "is missing" : `cannot be of kind ${kindOf(value)} or has a wrong value`;
  return new DecodeError(`a Mognet request whose ${field} ${what}`);
}

/** The queue of a request: its own, else the route of its task, else the default. wire: app/app.py `_get_task_route`. */
export function mognetQueueOf(
  request: Pick<MognetRequest, "name" | "queueName">,
  routes: Readonly<Record<string, string>>,
  defaultRoute: string,
): string {
  if (request.queueName !== null) return request.queueName;
  return Object.hasOwn(routes, request.name) ? routes[request.name]! : defaultRoute;
}

/** The queues that a worker of these settings consumes. `include` and `exclude` together are refused by the settings. */
export function mognetConsumedQueues(
  routes: Readonly<Record<string, string>>,
  defaultRoute: string,
  subset: { include?: Iterable<string>; exclude?: Iterable<string> } = {},
): string[] {
  const all = new Set([...Object.values(routes), defaultRoute]);
  const include = new Set(subset.include);
  const exclude = new Set(subset.exclude);
  if (include.size > 0) return [...all].filter((queue) => include.has(queue));
  return [...all].filter((queue) => !exclude.has(queue));
}
