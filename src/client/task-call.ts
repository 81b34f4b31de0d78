/**
 * From checked options to the message that is sent: times, defaults of the task and of the settings, properties.
 * wire: celery-wire 1.2, 1.3, 1.5; celery/app/base.py `send_task`; celery/app/amqp.py `as_task_v2`.
 */
import { ChainRest } from "../../protocol/celery/chain-tail.ts";
import type { EmbedInput, TaskMessageInput } from "../../protocol/celery/task-message.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { MAX_PYTHON_MS, MIN_PYTHON_MS, parseIso } from "../../protocol/iso-time.ts";
import type { MessageProperties } from "../../protocol/message.ts";
import type { Serializer } from "../../protocol/serialization.ts";
import { PyDateTime } from "../../protocol/values.ts";
import type { Settings } from "../settings/settings.ts";
import type { Zone } from "../settings/timezone.ts";
import type { CheckedOptions } from "../tasks/call-options.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Destination, Routed, RouteOptions } from "./router.ts";

/** RabbitMQ closes the channel for a longer `expiration`; the `expires` header stands anyway. */
const LONGEST_EXPIRATION_MS = 4_294_967_295;

/** Whose rules fill in what the call leaves open: `apply_async` of a known task, or `send_task` by name. */
export type CallBy = "definition" | "name";

/** Tasks that every app of Celery's knows and gives the default priority; one that is known by its name alone has none. */
const EVERYWHERE = /^celery\.(accumulate|backend_cleanup|chain|chord|chord_unlock|chunks|group|map|starmap)$/;

/** The task's own call options beneath those of the call. wire: celery/app/task.py `extract_exec_options`. */
export function withTaskDefaults(
  name: string,
  options: CheckedOptions,
  task: AnyTask | null,
  by: CallBy,
  settings: Settings,
): CheckedOptions {
  if (task === null) {
    const priority = EVERYWHERE.test(name) ? settings.task_default_priority : null;
    return priority === null || options.priority !== undefined ? options : { ...options, priority };
  }
  const { behaviour } = task;
  // A stub's worker has settings of its own: what ours say about running is not sent to it.
  const runsHere = task.handler !== null;
  const defaults: CheckedOptions = {
    queue: behaviour.queue ?? null,
    routingKey: behaviour.routingKey ?? null,
    exchange: behaviour.exchange === undefined ? null : { name: behaviour.exchange, type: "direct" },
    priority: behaviour.priority ?? settings.task_default_priority,
    expires: behaviour.expires ?? null,
    serializer: behaviour.serializer ?? null,
    compression: behaviour.compression ?? null,
    timeLimit: behaviour.timeLimit ?? (runsHere ? settings.task_time_limit : null),
    softTimeLimit: behaviour.softTimeLimit ?? (runsHere ? settings.task_soft_time_limit : null),
  };
  if (by === "name") {
    const known = Object.entries(defaults).filter(([, value]) => value !== null);
    return { ...Object.fromEntries(known), ...options };
  }
  const ignoreResult = behaviour.ignoreResult ?? (runsHere ? settings.task_ignore_result : null);
  return { ...defaults, ignoreResult, ...options };
}

/** The options that the router sees. */
export function routeOptions(options: CheckedOptions): RouteOptions {
  const { queue, exchange, exchangeType, routingKey, priority, serializer, compression } = options;
  const { deliveryMode, headers, expiration, retry, retryPolicy } = options;
  return {
    queue,
    exchange,
    exchangeType,
    routingKey,
    priority,
    serializer,
    compression,
    deliveryMode,
    headers,
    expiration,
    retry,
    retryPolicy,
  };
}

export interface CallSurroundings {
  readonly settings: Settings;
  readonly zone: Zone;
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly serializer: Serializer;
  readonly origin: string;
  readonly replyTo: string;
  /** Tells of an `expires` that has passed already. */
  readonly onExpired?: (secondsAgo: number) => void;
}

export interface TaskCall {
  readonly name: string;
  readonly id: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** What `encodeTask` writes. Throws `ImproperlyConfigured` for an instant that Python cannot hold. */
export function taskMessage(
  call: TaskCall,
  options: CheckedOptions,
  routed: Routed,
  destination: Destination,
  around: CallSurroundings,
): TaskMessageInput {
  const eta = etaText(call.name, options, around);
  const { header, expirationMs } = expiryOf(call.name, options, routed, around);
  const priority = routed.priority === undefined ? 0 : routed.priority;
  const input: TaskMessageInput = {
    task: call.name,
    id: call.id,
    args: call.args,
    kwargs: call.kwargs,
    shadow: options.shadow,
    eta,
    expires: header,
    group: options.groupId,
    groupIndex: options.groupIndex,
    retries: options.retries ?? 0,
    timeLimit: options.timeLimit,
    softTimeLimit: options.softTimeLimit,
    rootId: options.rootId,
    parentId: options.parentId,
    origin: options.origin ?? around.origin,
    ignoreResult: options.ignoreResult ?? null,
    replacedTaskNesting: options.replacedTaskNesting ?? 0,
    stampedHeaders: options.stampedHeaders,
    replyTo: options.replyTo || around.replyTo,
    deliveryMode: destination.deliveryMode,
    priority,
    expiration: expirationMs,
    serializer: around.serializer,
    reprMaxLevels: around.settings.task_repr_maxlevels,
  };
  if (typeof options.argsrepr === "string") input.argsRepr = options.argsrepr;
  if (typeof options.kwargsrepr === "string") input.kwargsRepr = options.kwargsrepr;
  if (options.stamps) input.stamps = { ...options.stamps };
  if (routed.headers) input.headers = { ...routed.headers };
  const embed = embedOf(options, around.serializer);
  if (embed !== null) input.embed = embed;
  const properties = propertiesOf(options);
  if (properties !== null) input.properties = properties;
  return input;
}

function embedOf({ link, linkError, chain, chord }: CheckedOptions, serializer: Serializer): EmbedInput | null {
  if (!link && !linkError && !chain && !chord) return null;
  const links = chain instanceof ChainRest && serializer.prepare === undefined ? chain.links() : chain;
  return { callbacks: link ?? null, errbacks: linkError ?? null, chain: links ?? null, chord: chord ?? null };
}

function propertiesOf(options: CheckedOptions): MessageProperties | null {
  const { correlationId, messageId, userId, appId, type, properties } = options;
  if (!correlationId && !messageId && !userId && !appId && !type && !properties) return null;
  const found: MessageProperties = { ...properties };
  if (correlationId) found.correlationId = correlationId;
  if (messageId) found.messageId = messageId;
  if (userId) found.userId = userId;
  if (appId) found.appId = appId;
  if (type) found.type = type;
  return found;
}

/** Until its ETA; 0 without one. */
export function secondsUntil({ countdown, eta }: CheckedOptions, now: () => number): number {
  if (countdown) return countdown;
  return eta === undefined || eta === null ? 0 : (epochOf(eta) - now()) / 1000;
}

function etaText(task: string, { countdown, eta }: CheckedOptions, { nowMs, zone }: CallSurroundings): string | null {
  // 0 is no countdown, and neither hides an eta (`if countdown:`).
  if (countdown) return instantText(task, nowMs, zone, countdown);
  return eta === undefined || eta === null ? null : textOf(task, eta, zone);
}

function expiryOf(
  task: string,
  { expires }: CheckedOptions,
  routed: Routed,
  { nowMs, zone, onExpired }: CallSurroundings,
): { header: string | null; expirationMs: string | null } {
  if (expires === undefined || expires === null) {
    return {
      header: null,
      expirationMs: typeof routed.expiration === "number" ? milliseconds(routed.expiration * 1000) : null,
    };
  }
  const header = typeof expires === "number" ? instantText(task, nowMs, zone, expires) : textOf(task, expires, zone);
  const leftMs = typeof expires === "number" ? expires * 1000 : epochOf(expires) - nowMs;
  if (leftMs < 0) onExpired?.(-leftMs / 1000);
  return { header, expirationMs: milliseconds(Math.max(0, leftMs)) };
}

function milliseconds(value: number): string | null {
  return value > LONGEST_EXPIRATION_MS ? null : String(Math.trunc(value));
}

function textOf(task: string, instant: Date | string, zone: Zone): string {
  if (typeof instant === "string") return instant;
  return instant instanceof PyDateTime ? instant.iso : instantText(task, instant.getTime(), zone);
}

/** Without an offset it counts as UTC here, as in `subtract_datetimes`. */
function epochOf(instant: Date | string): number {
  if (typeof instant !== "string") return instant.getTime();
  const parsed = parseIso(instant);
  return parsed === null || parsed === "overflow" ? Number.NaN : parsed.epochMs;
}

function instantText(task: string, epochMs: number, zone: Zone, seconds = 0): string {
  const ms = epochMs + seconds * 1000;
  const spareMs = 86_400_000;
  if (!(ms >= MIN_PYTHON_MS + spareMs && ms <= MAX_PYTHON_MS - spareMs)) {
    throw new ImproperlyConfigured(`${task}: the time lies outside the years 1 to 9999 that Python knows`);
  }
  return zone.iso(epochMs, Math.round(seconds * 1e6));
}
