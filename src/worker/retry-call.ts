/**
 * The next attempt of a task as a call: same id, same workflow, one more retry, same queue.
 * wire: celery-wire 1.9; celery/app/task.py `signature_from_request`, `Context.as_execution_options`.
 */
import type { TaskRequest } from "../../protocol/celery/task-message.ts";
import type { Retry } from "../tasks/signals.ts";
import type { DeliveryInfo } from "../transports/transport.ts";
import type { TaskPlan } from "./request.ts";

export interface RetryCall {
  name: string;
  args: readonly unknown[];
  kwargs: Readonly<Record<string, unknown>>;
  options: Record<string, unknown>;
}

/** Headers that belong to one delivery or to the broker, and are not sent again. */
const DELIVERY_HEADERS = /^(?:x-death$|x-(?:first|last)-death-|redelivered$|compression$)/;

export function retryCall(message: TaskRequest, info: DeliveryInfo, plan: TaskPlan, retry: Retry): RetryCall {
  const { overrides } = retry;
  const options: Record<string, unknown> = {
    taskId: message.id,
    rootId: message.rootId,
    parentId: message.parentId ?? message.id,
    groupId: message.group,
    groupIndex: message.groupIndex,
    shadow: message.shadow,
    origin: message.origin,
    replyTo: message.replyTo,
    replacedTaskNesting: message.replacedTaskNesting,
    stampedHeaders: message.stampedHeaders,
    stamps: message.stamps,
    headers: resentHeaders(message.headers),
    link: message.embed.callbacks,
    linkError: message.embed.errbacks,
    chain: message.embed.chain,
    chord: message.embed.chord,
    expires: message.expires,
    timeLimit: message.timeLimit,
    softTimeLimit: message.softTimeLimit,
    ignoreResult: message.ignoreResult ?? plan.ignoreResult,
    retries: message.retries + 1,
    ...(message.priority === null ? {} : { priority: message.priority }),
    ...(info.exchange === "" ? { queue: info.routingKey } : { exchange: info.exchange, routingKey: info.routingKey }),
    ...("countdown" in retry.when ? { countdown: retry.when.countdown } : { eta: retry.when.eta }),
    ...overrides.options,
  };
  for (const key of Object.keys(options)) if (options[key] === null || options[key] === undefined) delete options[key];
  return {
    name: message.task,
    args: overrides.args ?? message.args,
    kwargs: overrides.kwargs ?? message.kwargs,
    options,
  };
}

function resentHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> | null {
  const kept = Object.entries(headers).filter(([name]) => !DELIVERY_HEADERS.test(name));
  return kept.length === 0 ? null : Object.fromEntries(kept);
}
