/**
 * Names and small records of Kombu's Redis transport. wire: celery-wire 6.1 to 6.4; kombu/transport/redis.py.
 * Key names hold the control bytes 06 16: they are never trimmed or percent-encoded.
 */
import type { Binding } from "../routing.ts";

/** Stands between the queue and the priority step, and inside binding members. Transport option `sep`. */
export const SEP = "\x06\x16";
/** Transport option `priority_steps`. A lower number is more urgent. */
export const PRIORITY_STEPS: readonly number[] = [0, 3, 6, 9];

/** The step that serves a priority: the largest one not above it (Python's `steps[bisect(steps, n) - 1]`). */
export function priorityStep(priority: number, steps: readonly number[] = PRIORITY_STEPS): number {
  for (let at = steps.length - 1; at >= 0; at--) {
    if (steps[at]! <= priority) return steps[at]!;
  }
  return steps[steps.length - 1] ?? 0; // below the first step, Python's index of -1 means the last one
}

/** The list of one step: the queue's own name for step 0, else `<queue><sep><step>`. */
export function queueForStep(queue: string, step: number, sep: string = SEP): string {
  return step === 0 ? queue : `${queue}${sep}${step}`;
}

/** The list that a message of this priority (0 to 9) goes to. */
export function queueForPriority(
  queue: string,
  priority: number,
  steps: readonly number[] = PRIORITY_STEPS,
  sep: string = SEP,
): string {
  return queueForStep(queue, priorityStep(priority, steps), sep);
}

/** All lists of a queue, most urgent first. */
export function listsOfQueue(queue: string, steps: readonly number[] = PRIORITY_STEPS, sep: string = SEP): string[] {
  return steps.map((step) => queueForStep(queue, step, sep));
}

/** The queue that a list belongs to. Only a known step is taken off, so that a queue's name may hold the separator. */
export function queueOfList(list: string, steps: readonly number[] = PRIORITY_STEPS, sep: string = SEP): string {
  const at = sep === "" ? -1 : list.lastIndexOf(sep);
  if (at < 0) return list;
  const suffix = list.slice(at + sep.length);
  return steps.some((step) => step !== 0 && String(step) === suffix) ? list.slice(0, at) : list;
}

/** Member of a binding set: `routing_key SEP pattern SEP queue`. */
export function encodeBinding(binding: Binding, sep: string = SEP): string {
  return `${binding.routingKey}${sep}${binding.pattern}${sep}${binding.queue}`;
}

/** Null for a member that is not three parts (another separator was in use). */
export function decodeBinding(member: string, sep: string = SEP): Binding | null {
  const parts = member.split(sep);
  return parts.length === 3 ? { routingKey: parts[0]!, pattern: parts[1]!, queue: parts[2]! } : null;
}

/** How Kombu's Redis transport names its keys: options of `broker_transport_options`. */
export interface RedisKeyOptions {
  /** @default "" */
  globalKeyprefix?: string;
  /** @default SEP */
  sep?: string;
  /** @default PRIORITY_STEPS */
  prioritySteps?: readonly number[];
  /** @default "unacked" */
  unackedKey?: string;
  /** @default "unacked_index" */
  unackedIndexKey?: string;
  /** @default "unacked_mutex" */
  unackedMutexKey?: string;
  /** Database number, part of the fanout channels. @default 0 */
  db?: number;
  /** True: `/{db}.`; false: nothing; a text: that text, with `{db}` filled in. @default true */
  fanoutPrefix?: boolean | string;
  /** Whether a routing key becomes part of the channel. @default true */
  fanoutPatterns?: boolean;
}

/** Every key and channel of one broker URL, with `global_keyprefix` in place. */
export class RedisKeys {
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly unackedMutex: string;
  /** Sorted set of exchanges whose tables may lapse, since 5.7. Score: Unix ms. */
  readonly bindingDeadlines: string;
  /** `<prefix>_kombu.binding.`, as the sweep script wants it. */
  readonly bindingPrefix: string;
  /** `<prefix>_kombu.binding_permanent.` */
  readonly bindingPermanentPrefix: string;
  readonly sep: string;
  readonly steps: readonly number[];
  readonly #prefix: string;
  readonly #fanoutPrefix: string;
  readonly #fanoutPatterns: boolean;

  constructor(options: RedisKeyOptions = {}) {
    const prefix = options.globalKeyprefix ?? "";
    this.#prefix = prefix;
    this.sep = options.sep ?? SEP;
    this.steps = options.prioritySteps ?? PRIORITY_STEPS;
    this.unacked = prefix + (options.unackedKey ?? "unacked");
    this.unackedIndex = prefix + (options.unackedIndexKey ?? "unacked_index");
    this.unackedMutex = prefix + (options.unackedMutexKey ?? "unacked_mutex");
    this.bindingPrefix = `${prefix}_kombu.binding.`;
    this.bindingPermanentPrefix = `${prefix}_kombu.binding_permanent.`;
    this.bindingDeadlines = `${prefix}_kombu.binding_deadlines`;
    const fanout = options.fanoutPrefix ?? true;
    const template = fanout === true ? "/{db}." : fanout === false ? "" : fanout;
    this.#fanoutPrefix = prefix + template.replaceAll("{db}", String(options.db ?? 0));
    this.#fanoutPatterns = options.fanoutPatterns ?? true;
  }

  /** The list that a message of this priority (0 to 9) is pushed to. */
  list(queue: string, priority: number): string {
    return this.#prefix + queueForPriority(queue, priority, this.steps, this.sep);
  }

  /** All lists of a queue, most urgent first. */
  lists(queue: string): string[] {
    return this.steps.map((step) => this.#prefix + queueForStep(queue, step, this.sep));
  }

  /**
   * The keys of one BRPOP over several queues: every queue's list of a step before any list of the next step
   * (celery-wire 6.3).
   */
  listsByUrgency(queues: readonly string[]): string[] {
    const keys: string[] = [];
    for (const step of this.steps) {
      for (const queue of queues) keys.push(this.#prefix + queueForStep(queue, step, this.sep));
    }
    return keys;
  }

  /** The queue of a list's key, as BRPOP answers it. */
  queueOf(key: string): string {
    return queueOfList(key.slice(this.#prefix.length), this.steps, this.sep);
  }

  /** Set of all bindings of an exchange. */
  binding(exchange: string): string {
    return this.bindingPrefix + exchange;
  }

  /** Set of the bindings whose queue never lapses, since 5.7: an ordinary queue stands in both sets. */
  bindingPermanent(exchange: string): string {
    return this.bindingPermanentPrefix + exchange;
  }

  /** Channel that a message to a fanout exchange is published on, such as `/0.celeryev/task.sent`. */
  fanoutChannel(exchange: string, routingKey: string): string {
    const base = this.#fanoutPrefix + exchange;
    return routingKey !== "" && this.#fanoutPatterns ? `${base}/${routingKey}` : base;
  }

  /** Pattern for PSUBSCRIBE: the channel with `#` of the binding's routing key as `*`. */
  fanoutPattern(exchange: string, routingKey: string): string {
    return this.fanoutChannel(exchange, routingKey.replaceAll("#", "*"));
  }

  /** The exchange of a channel name; the routing key is what follows its first `/`. Null: not one of ours. */
  exchangeOfChannel(channel: string): { exchange: string; routingKey: string } | null {
    if (!channel.startsWith(this.#fanoutPrefix)) return null;
    const rest = channel.slice(this.#fanoutPrefix.length);
    const slash = rest.indexOf("/");
    return slash < 0
      ? { exchange: rest, routingKey: "" }
      : { exchange: rest.slice(0, slash), routingKey: rest.slice(slash + 1) };
  }

  /** Any further key or channel under the same `global_keyprefix`. */
  prefixed(key: string): string {
    return this.#prefix + key;
  }
}
