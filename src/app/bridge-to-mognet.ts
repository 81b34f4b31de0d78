/** A Celery task that Mognet carries out. */
import { createHash } from "node:crypto";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { mognetIdOrNull } from "../../protocol/mognet/names.ts";
import type { Celery } from "../app.ts";
import type { Result } from "../client/mognet/result.ts";
import { pause } from "../runtime/backoff.ts";
import { dict, mismatch, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { currentTask, type TaskContext } from "../tasks/context.ts";
import { type AnyTask, task as defineTask, isTaskDefinition, type TaskType } from "../tasks/definition.ts";
import { SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded, TimeoutError } from "../tasks/errors.ts";
import { CouldNotSubmit, Revoked } from "../tasks/mognet-errors.ts";
import { REQUEST_OPTIONS, Request, type RequestOptions } from "../tasks/mognet-request.ts";
import { onlyWaiting } from "../tasks/only-waits.ts";
import { mognetPriority, type Urgent } from "./bridge-priority.ts";
import type { Mognet } from "./mognet.ts";

/** For `viaMognet()`. */
export interface ViaMognetOptions {
  /** Name under which Celery's tasks come. @default the task's own */
  name?: string;
  /** Of the request: `queueName`, `metadata`, `kwargsRepr`, … `id`, `priority` and `deadline` come from the Celery task. */
  options?: Omit<RequestOptions, "id">;
  /** The app that the definition is registered with, whose broker says which priority is the more urgent. @default RabbitMQ's order */
  celery?: Celery;
}

const OPTIONS: OptionKinds = {
  name: text,
  options: dict,
  celery: { ...dict, what: "a Celery app", parse: checkCelery },
};

/** Behind a submit that failed although it was borne for as long as the configuration says. */
const AGAIN_MS = 1_000;

function checkCelery(value: unknown, at: string): Readonly<Record<string, unknown>> {
  const celery = typeof value === "object" && value !== null && "sendTask" in value;
  if (!celery) throw mismatch(at, "a Celery app", value);
  return {};
}

/**
 * The definition for the Celery app: its tasks are carried out by Mognet's `task`, under the same id where that is a UUID. The value,
 * or the error with its class, becomes the task's. A task whose `expires` passes before Mognet has begun it is revoked there; a hard
 * time limit becomes the deadline of its run; a soft one and a revoke that terminates revoke the request and all below it. A request
 * that is revoked fails its task with `TaskRevokedError`. Acks late, so that a bridge that dies is replaced by another.
 */
export function viaMognet<Call, Result>(
  app: Mognet,
  task: TaskType<Call, Result>,
  options?: ViaMognetOptions,
): TaskType<Call, Result>;
export function viaMognet(app: Mognet, task: string, options?: ViaMognetOptions): TaskType<unknown[], unknown>;
export function viaMognet(app: Mognet, task: AnyTask | string, options: ViaMognetOptions = {}): AnyTask {
  if (typeof app?.createRequest !== "function") throw mismatch("viaMognet(): the app", "a Mognet app", app);
  if (typeof task !== "string" && !isTaskDefinition(task))
    throw mismatch("viaMognet(): the task", "a task or its name", task);
  checkOptionObject(options, OPTIONS, "viaMognet()");
  checkOptionObject(options.options ?? {}, REQUEST_OPTIONS, "viaMognet(): options");
  const name = typeof task === "string" ? task : task.name;
  const made = onlyWaiting(
    defineTask(options.name ?? name, { acksLate: true, rejectOnWorkerLost: true }, () =>
      carryOut(context(), app, name, options),
    ),
  );
  // Calls of it are checked like calls of the task itself; the worker hands on what came as it came.
  return typeof task === "string" ? made : { ...made, parameters: task.parameters, params: task.params };
}

function context(): TaskContext {
  const running = currentTask();
  if (running === undefined) throw new ImproperlyConfigured("a bridge's handler is called by a worker");
  return running;
}

async function carryOut(ctx: TaskContext, mognet: Mognet, name: string, options: ViaMognetOptions): Promise<unknown> {
  const { signal } = ctx;
  try {
    const result = await submitted(ctx, mognet, name, options);
    return await outcome(ctx, mognet, result);
  } catch (error) {
    if (signal.aborted) {
      if (endsTheTask(signal.reason)) await mognet.revoke(requestId(ctx.id));
      throw signal.reason;
    }
    if (error instanceof Revoked) throw new TaskRevokedError(ctx.id, error.reason, { cause: error });
    throw error;
  }
}

/** A worker that stops is no reason: the message comes back, and with it whoever waits. */
function endsTheTask(reason: unknown): boolean {
  return (
    reason instanceof SoftTimeLimitExceeded || reason instanceof TimeLimitExceeded || reason instanceof TaskRevokedError
  );
}

async function submitted(ctx: TaskContext, mognet: Mognet, name: string, { options, celery }: ViaMognetOptions) {
  const id = requestId(ctx.id);
  const urgent: Urgent = celery?.transport.can.urgent ?? "highest";
  const limit = ctx.timeLimit;
  const request = new Request({
    ...options,
    name,
    args: ctx.args,
    kwargs: ctx.kwargs,
    id,
    priority: mognetPriority(ctx.deliveryInfo.priority, urgent),
    ...(limit === null ? {} : { deadline: limit }),
  });
  const known = ctx.deliveryInfo.redelivered || ctx.retries > 0 ? await mognet.getResult(id) : null;
  if (known === null) return submitAtLast(request, mognet, ctx);
  // The bridge before this one may have died between writing the result and sending the request.
  if (known.state === "PENDING") await mognet.client.submitter.sendAgain(request);
  return known;
}

/** Servers that are away are no reason to fail the task: it has its limits. */
async function submitAtLast(request: Request, mognet: Mognet, { signal, log }: TaskContext): Promise<Result> {
  for (;;) {
    try {
      return await mognet.submit(request);
    } catch (error) {
      if (!(error instanceof CouldNotSubmit && error.retryable) || signal.aborted) throw error;
      log.warn({ err: error }, "the request could not be submitted and is tried again");
      await pause(AGAIN_MS, signal);
      signal.throwIfAborted();
    }
  }
}

/** Celery's `expires` is about the start: what Mognet has begun in time may take its time. */
async function outcome(ctx: TaskContext, mognet: Mognet, result: Result): Promise<unknown> {
  const { signal, deadline } = ctx;
  if (deadline === null) return result.get({ signal });
  try {
    return await result.get({ signal, timeout: Math.max(0, deadline.getTime() - Date.now()) });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
  await mognet.client.control.expire(result.id);
  return result.get({ signal });
}

/** Celery's ids may be any text; Mognet's are UUIDs. The same text always gives the same one (UUID version 5). */
function requestId(id: string): string {
  const known = mognetIdOrNull(id);
  if (known !== null) return known;
  const hash = createHash("sha1").update("lovage.celery.task\0").update(id).digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString("hex", 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
