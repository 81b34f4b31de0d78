/** A Mognet task that Celery carries out. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { MAX_PYTHON_MS } from "../../protocol/iso-time.ts";
import type { Celery } from "../app.ts";
import { backoffMs, pause } from "../runtime/backoff.ts";
import type { Log } from "../runtime/log.ts";
import { dict, mismatch, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { type ApplyAsyncOptions, checkOptions } from "../tasks/call-options.ts";
import { type AnyTask, task as defineTask, isTaskDefinition, type TaskType } from "../tasks/definition.ts";
import { TaskRevokedError } from "../tasks/errors.ts";
import { type MognetContext, mognetContext } from "../tasks/mognet-context.ts";
import { Revoked } from "../tasks/mognet-errors.ts";
import { onlyWaiting } from "../tasks/only-waits.ts";
import { ConnectionLost } from "../transports/errors.ts";
import { DeadlineExceeded } from "../worker/mognet/reasons.ts";
import { celeryPriority } from "./bridge-priority.ts";
import { Mognet } from "./mognet.ts";

/** For `viaCelery()`. */
export interface ViaCeleryOptions {
  /** Name under which Mognet's requests come. @default the task's own */
  name?: string;
  /** Of the Celery call: `queue`, `routingKey`, `headers`, `serializer`, … `priority` and `expires` come from the request. */
  options?: ApplyAsyncOptions;
}

const OPTIONS: OptionKinds = { name: text, options: dict };
/** In the request's state, once the Celery task was sent: a request that comes back waits for it and sends no second one. */
const SENT = "lovage.via_celery";
const DAY_MS = 86_400_000;

/**
 * The definition for the Mognet app: its requests are carried out by Celery's `task`, under the same id. The value, or the error with
 * its class, becomes the request's. A revoke and a deadline reach the Celery task as `revoke(terminate=True)`, and a deadline as
 * `expires` too; a Celery task that is revoked or expires revokes its request.
 */
export function viaCelery<Call, Result>(
  app: Celery,
  task: TaskType<Call, Result>,
  options?: ViaCeleryOptions,
): TaskType<Call, Result>;
export function viaCelery(app: Celery, task: string, options?: ViaCeleryOptions): TaskType<unknown[], unknown>;
export function viaCelery(app: Celery, task: AnyTask | string, options: ViaCeleryOptions = {}): AnyTask {
  if (typeof app?.sendTask !== "function") throw mismatch("viaCelery(): the app", "a Celery app", app);
  if (typeof task !== "string" && !isTaskDefinition(task))
    throw mismatch("viaCelery(): the task", "a task or its name", task);
  checkOptionObject(options, OPTIONS, "viaCelery()");
  const name = typeof task === "string" ? task : task.name;
  checkOptions(options.options ?? {}, { task: name });
  const made = onlyWaiting(
    defineTask(options.name ?? name, {}, () => carryOut(mognetContext(), app, name, options.options ?? {})),
  );
  // Calls of it are checked like calls of the task itself; the worker hands on what came as it came.
  return typeof task === "string" ? made : { ...made, parameters: task.parameters, params: task.params };
}

async function carryOut(
  ctx: MognetContext,
  celery: Celery,
  name: string,
  options: ApplyAsyncOptions,
): Promise<unknown> {
  const { id, signal, log } = ctx;
  try {
    const result = await sent(ctx, celery, name, options);
    return await result.get({ signal });
  } catch (error) {
    if (signal.aborted) {
      if (endsTheRequest(signal.reason)) await terminate(celery, id, log);
      throw signal.reason;
    }
    if (!(error instanceof TaskRevokedError)) throw error;
    log.info({ reason: error.reason }, "the Celery task was revoked, and so is its request");
    if (ctx.app instanceof Mognet) await ctx.app.revoke(id);
    throw new Revoked(id, error.reason, { cause: error });
  }
}

/** A run that is over here alone is no reason: another bridge, or a later run, waits for the same Celery task. */
function endsTheRequest(reason: unknown): boolean {
  return reason instanceof Revoked || reason instanceof DeadlineExceeded;
}

/** As long as the broker is away the task runs on: it is told as soon as it can be. */
async function terminate(celery: Celery, id: string, log: Log): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await celery.control.terminate(id);
      return;
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      log.warn({ id, err: error }, "the Celery task could not be revoked yet");
      await pause(backoffMs(attempt));
    }
  }
}

/** Null: there is none, or it lies beyond what Python's times can say, as `datetime.max` does in some zones. */
function expiryOf({ deadline, timeLimit }: MognetContext): Date | number | null {
  const atMs = deadline?.getTime() ?? (timeLimit === null ? null : Date.now() + timeLimit * 1000);
  return atMs === null || !(atMs < MAX_PYTHON_MS - DAY_MS) ? null : (deadline ?? timeLimit);
}

async function sent(ctx: MognetContext, celery: Celery, name: string, options: ApplyAsyncOptions) {
  const { id, request, state, deliveryInfo } = ctx;
  if (celery.backend === null) {
    throw new ImproperlyConfigured(
      `app ${celery.name} has no result backend: what Celery makes of ${name} would stay unknown`,
    );
  }
  if (deliveryInfo.redelivered && (await state.get(SENT, false))) return celery.result(id);
  const priority = celeryPriority(request.priority, celery.transport.can.urgent);
  const expires = expiryOf(ctx);
  const result = await celery.client.send({
    name,
    args: request.args,
    kwargs: request.kwargs,
    options: {
      // A broker that is away is no reason to fail the request: it has its deadline.
      retryPolicy: { max_retries: null },
      ...options,
      signal: ctx.signal,
      taskId: id,
      ...(priority === null ? {} : { priority }),
      ...(expires === null ? {} : { expires }),
    },
    task: celery.tasks.get(name) ?? null,
    by: "name",
    parent: null,
  });
  // Behind the send: a crash in between sends it twice, the other way round it would be lost.
  await state.set(SENT, true);
  return result;
}
