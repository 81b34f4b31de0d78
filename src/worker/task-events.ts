/**
 * What the worker tells monitors of its tasks. Everything that describes a task goes into `task-received`; later events name it
 * by its id alone. wire: celery/worker/strategy.py, celery/worker/request.py; behaviour 4.3.
 */
import { parseIso } from "../../protocol/iso-time.ts";
import { encodeJson } from "../../protocol/json.ts";
import { reprException, saferepr } from "../../protocol/saferepr.ts";
import { PyFloat } from "../../protocol/values.ts";
import { cutText } from "../runtime/cut-text.ts";
import type { Zone } from "../settings/timezone.ts";
import { toRemoteException, tracebackText } from "../tasks/python-errors.ts";
import { Reject, Retry } from "../tasks/signals.ts";
import type { Request } from "./request.ts";

/** Where events go: the dispatcher of `src/events`. */
export interface EventSink {
  /** False: nothing is to be made of task events. */
  readonly sendsTaskEvents: boolean;
  send(type: string, fields: Readonly<Record<string, unknown>>): void;
  /** A task event whose members are written already, as JSON without braces. */
  sendTaskText(type: string, own: string): void;
  /** Behind all events so far, by itself, and also where its group is switched off. */
  sendSingly(type: string, fields: Readonly<Record<string, unknown>>): void;
}

/** Where nobody watches. */
export const noEvents: EventSink = {
  sendsTaskEvents: false,
  send: () => undefined,
  sendTaskText: () => undefined,
  sendSingly: () => undefined,
};

export class TaskEvents {
  readonly #sink: EventSink;
  readonly #zone: Zone;

  constructor(sink: EventSink, zone: Zone) {
    this.#sink = sink;
    this.#zone = zone;
  }

  received(request: Request): void {
    if (!this.#on(request)) return;
    const { message } = request;
    const { id, rootId, parentId, retries } = message;
    const name = message.shadow || message.task;
    const args = message.argsRepr ?? saferepr(message.args, { asTuple: true });
    const kwargs = message.kwargsRepr ?? saferepr(message.kwargs);
    const eta = this.#time(message.eta, request.etaMs);
    const expires = this.#time(message.expires, request.expiresMs);
    this.#sink.sendTaskText(
      "task-received",
      `"uuid": ${text(id)}, "name": ${text(name)}, "args": ${text(args)}, "kwargs": ${text(kwargs)}, "root_id": ${text(rootId)}, ` +
        `"parent_id": ${text(parentId)}, "retries": ${retries}, "eta": ${text(eta)}, "expires": ${text(expires)}`,
    );
  }

  started(request: Request): void {
    if (this.#on(request)) this.#sink.sendTaskText("task-started", `"uuid": ${text(request.id)}`);
  }

  succeeded(request: Request): void {
    if (!this.#on(request)) return;
    const runtime = new PyFloat(Math.max(0, (performance.now() - request.startedMs) / 1000));
    const result = text(saferepr(request.value));
    this.#sink.sendTaskText(
      "task-succeeded",
      `"uuid": ${text(request.id)}, "result": ${result}, "runtime": ${runtime}`,
    );
  }

  failed(request: Request): void {
    if (!this.#on(request)) return;
    const { error } = request;
    this.#sink.send("task-failed", {
      uuid: request.id,
      exception: exceptionText(error),
      traceback: tracebackText(error),
    });
  }

  retried(request: Request): void {
    if (!this.#on(request)) return;
    const { error } = request;
    const cause: unknown = error instanceof Retry ? error.exc : error;
    this.#sink.send("task-retried", {
      uuid: request.id,
      exception: cause === null || cause === undefined ? "None" : exceptionText(cause),
      traceback: tracebackText(error),
    });
  }

  rejected(request: Request, requeue: boolean): void {
    if (this.#on(request)) this.#sink.send("task-rejected", { uuid: request.id, requeue });
  }

  revoked(request: Request): void {
    if (!this.#on(request)) return;
    const { terminated, signum, expired } = request.revocation ?? { terminated: false, signum: null, expired: false };
    this.#sink.send("task-revoked", { uuid: request.id, terminated, signum, expired });
  }

  cancelled(request: Request): void {
    if (this.#on(request)) this.#sink.send("task-cancelled", { uuid: request.id });
  }

  /** A message that never became a request: a name that is not registered, arguments that cannot be read. */
  refused(id: string, error: unknown): void {
    if (this.#sink.sendsTaskEvents) this.#sink.send("task-failed", { uuid: id, exception: exceptionText(error) });
  }

  #on(request: Request): boolean {
    return this.#sink.sendsTaskEvents && request.plan.task.behaviour.sendEvents !== false;
  }

  /** As Python shows it: in the app's zone, to the microsecond. */
  #time(text: string | null, epochMs: number | null): string | null {
    if (text === null || epochMs === null) return null;
    const parsed = parseIso(text);
    return this.#zone.iso(epochMs, parsed === null || parsed === "overflow" ? 0 : parsed.micros);
  }
}

/** Characters of an exception in an event: every monitor keeps it. */
const LONGEST_EXCEPTION = 65_536;

/** `ValueError('boom')`, as Python's `repr` of the exception that it will see. */
export function exceptionText(error: unknown): string {
  if (error instanceof Reject) return cutText(error.message, LONGEST_EXCEPTION);
  const { type, args } = toRemoteException(error);
  return cutText(reprException(type, args), LONGEST_EXCEPTION);
}

/** As JSON. */
function text(value: string | null): string {
  return value === null ? "null" : encodeJson(value);
}
