/**
 * The client's side of remote control: broadcasts requests and gathers replies. One reply queue serves all calls of an app;
 * replies find their call by its ticket. wire: kombu/pidbox.py `Mailbox._broadcast`, `_collect`; behaviour 3.2.
 */
import type { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import {
  type PidboxRequest,
  readReply,
  replyExchange,
  replyQueue,
  requestBody,
  requestExchange,
} from "../../protocol/kombu/pidbox.ts";
import type { Message } from "../../protocol/message.ts";
import { encodePayload } from "../../protocol/serialization.ts";
import { type Abortable, AbortGroups } from "../runtime/abort-groups.ts";
import { newId } from "../runtime/ids.ts";
import { limitedLog } from "../runtime/limited-log.ts";
import type { Log } from "../runtime/log.ts";
import { LONGEST_TIMER_MS } from "../runtime/timer-heap.ts";
import { ConnectionLost, PublishError } from "../transports/errors.ts";
import type { Consumer, Transport } from "../transports/transport.ts";
import { InvalidBroadcast } from "./errors.ts";
import { readBody } from "./read-body.ts";
import type { MailboxSettings } from "./settings.ts";

export interface MailboxOptions {
  readonly settings: MailboxSettings;
  /** Publishes requests and consumes replies. It is not closed here. */
  readonly transport: Transport;
  readonly clock: LamportClock;
  readonly log: Log;
  /** Why the broker cannot be reached, as far as is known. */
  readonly outage?: () => Error | null;
  /** Milliseconds until a broker that cannot be reached is an error. @default 10_000 */
  readonly patienceMs?: number;
}

/** What a request says, and to whom. */
export interface Broadcast {
  readonly method: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly destination?: readonly string[] | null;
  readonly pattern?: string | null;
  readonly matcher?: string | null;
}

export interface CallOptions {
  /** Milliseconds of silence after which no more replies are expected. */
  readonly timeoutMs: number;
  /** Replies after which nothing more is waited for. @default when all destinations have replied */
  readonly limit?: number | null;
  /** Called with each reply as it comes. */
  readonly onReply?: ((reply: Reply) => void) | null;
  /** Ends early when every node has replied that replied before. @default true */
  readonly early?: boolean;
  /** Answers at once, with nothing, where the broker says that no node listens at all. @default false */
  readonly mandatory?: boolean;
  readonly signal?: AbortSignal | null;
}

/** A map of one node's name to what it said. */
export type Reply = Readonly<Record<string, unknown>>;

interface Call {
  readonly replies: Reply[];
  readonly onReply: ((reply: Reply) => void) | null;
  readonly limit: number;
  /** Nodes that alone were addressed: what others say is nobody's; null: any may answer. */
  readonly asked: ReadonlySet<string> | null;
  /** Of these, those that have not answered; null: it is not that what is waited for. */
  readonly addressed: Set<string> | null;
  /** Bytes of the replies. */
  bytes: number;
  readonly timeoutMs: number;
  /** Nodes that answered before and not yet now; null: all are waited for. */
  readonly expected: Set<string> | null;
  /** Null until the request is with the broker. */
  timer: NodeJS.Timeout | null;
  end(): void;
}

/** A fleet is not larger; a garbage sender is. */
const MOST_REPLIES = 100_000;
/** Nor does a fleet say more in one call. */
const MOST_REPLY_BYTES = 512 * 1024 * 1024;
/** What the slowest newcomer gets once all known nodes have replied. */
const GRACE_MS = 200;

const underSignals = new AbortGroups();

export class Mailbox {
  readonly #options: MailboxOptions;
  readonly #oid = newId();
  readonly #calls = new Map<string, Call>();
  /** Nodes that replied to the last broadcast to everyone that was waited for. */
  #known = new Set<string>();
  #ready: Promise<void> | null = null;
  #listening: Promise<Consumer> | null = null;

  constructor(options: MailboxOptions) {
    this.#options = { ...options, log: limitedLog(options.log) };
  }

  /** Resolves when there is a connection. */
  async connect(): Promise<void> {
    await this.#reach((signal) => this.#options.transport.connect(signal));
  }

  /** Sends a request that nobody is to answer. Resolves once the broker has it. */
  async cast(broadcast: Broadcast, ended: AbortSignal | null = null): Promise<void> {
    checkBroadcast(broadcast);
    ended?.throwIfAborted();
    await this.#reach(async (signal) => {
      await this.#prepare(signal);
      await this.#publish(requestOf(broadcast, null, null), null, signal);
    }, ended);
  }

  /** Sends a request and gathers the replies, in the order in which they come. */
  async call(broadcast: Broadcast, options: CallOptions): Promise<Reply[]> {
    checkBroadcast(broadcast);
    options.signal?.throwIfAborted();
    const ticket = newId();
    const call = this.#expect(ticket, broadcast, options);
    const { namespace } = this.#options.settings;
    const replyTo = { exchange: replyExchange(namespace).name, routingKey: this.#oid };
    try {
      await this.#reach(async (signal) => {
        await this.#prepare(signal);
        await this.#listen();
        const request = requestOf(broadcast, ticket, replyTo);
        await this.#publish(request, call.timeoutMs, signal, options.mandatory ?? false);
      }, options.signal ?? null);
    } catch (error) {
      call.end();
      options.signal?.throwIfAborted();
      if (options.mandatory === true && error instanceof PublishError && error.code === "UNROUTABLE") return [];
      throw error;
    }
    if (this.#calls.has(ticket)) call.timer ??= setTimeout(call.end, call.timeoutMs);
    const replies = await call.done;
    options.signal?.throwIfAborted();
    return replies;
  }

  /** Ends calls under way with what they have. */
  async close(): Promise<void> {
    for (const call of [...this.#calls.values()]) call.end();
    const { transport, log } = this.#options;
    const listening = this.#listening;
    this.#listening = null;
    if (listening === null || !transport.connected) return;
    try {
      await (await listening).cancel();
    } catch (error) {
      log.debug({ err: error }, "the reply queue of remote control could not be left in order");
    }
  }

  #expect(ticket: string, broadcast: Broadcast, options: CallOptions): Call & { readonly done: Promise<Reply[]> } {
    const { timeoutMs, onReply = null, early = true, signal = null } = options;
    const toAll = !broadcast.destination?.length && !broadcast.pattern;
    const limit = options.limit || MOST_REPLIES;
    const named = broadcast.destination?.length ? broadcast.destination : null;
    const asked = named !== null && !broadcast.pattern ? new Set(named) : null;
    const addressed = named !== null && !options.limit ? new Set(named) : null;
    let resolve: (replies: Reply[]) => void = () => undefined;
    const done = new Promise<Reply[]>((settle) => {
      resolve = settle;
    });
    const end = () => {
      if (!this.#calls.delete(ticket)) return;
      if (call.timer !== null) clearTimeout(call.timer);
      if (signal !== null) underSignals.leave(signal, member);
      if (toAll && !options.limit) this.#known = new Set(call.replies.flatMap((reply) => Object.keys(reply)));
      resolve(call.replies);
    };
    const expected = early && toAll && this.#known.size > 0 ? new Set(this.#known) : null;
    const call: Call & { readonly done: Promise<Reply[]> } = {
      replies: [],
      onReply,
      limit,
      asked,
      addressed,
      bytes: 0,
      timeoutMs: Math.min(timeoutMs, LONGEST_TIMER_MS),
      expected,
      timer: null,
      end,
      done,
    };
    this.#calls.set(ticket, call);
    const member = { onAbort: end };
    if (signal !== null) underSignals.join(signal, member);
    return call;
  }

  #onReply(message: Message): void {
    const { settings, clock, log } = this.#options;
    const read = readBody(message, settings);
    if ("refused" in read) return log.warn({ reason: read.refused }, "a reply to a control message cannot be read");
    clock.adjust(message.headers?.clock);
    const expires: unknown = message.headers?.expires;
    if (typeof expires === "number" && expires > 0 && Date.now() / 1000 > expires) return;
    const ticket: unknown = message.headers?.ticket;
    const call = typeof ticket === "string" ? this.#calls.get(ticket) : undefined;
    const reply = readReply(read.body);
    // Too late, or nobody's.
    if (call === undefined || reply === null) return;
    const { asked } = call;
    if (asked !== null && !Object.keys(reply).some((node) => asked.has(node))) return;
    const failed = (error: unknown) => log.error({ err: error }, "the callback for replies threw");
    call.replies.push(reply);
    call.bytes += message.body.byteLength;
    try {
      const answer: unknown = call.onReply?.(reply);
      if (answer instanceof Promise) answer.catch(failed);
    } catch (error) {
      failed(error);
    }
    this.#wait(call, reply);
  }

  /** Each reply begins the wait for the next one anew. */
  #wait(call: Call, reply: Reply): void {
    if (call.replies.length >= call.limit || call.bytes >= MOST_REPLY_BYTES) return call.end();
    for (const node of Object.keys(reply)) {
      call.expected?.delete(node);
      call.addressed?.delete(node);
    }
    if (call.addressed?.size === 0) return call.end();
    const complete = call.expected?.size === 0;
    if (call.timer !== null) clearTimeout(call.timer);
    call.timer = setTimeout(call.end, complete ? Math.min(GRACE_MS, call.timeoutMs) : call.timeoutMs);
  }

  async #publish(
    request: PidboxRequest,
    timeoutMs: number | null,
    signal: AbortSignal,
    mandatory = false,
  ): Promise<void> {
    const { settings, transport, clock } = this.#options;
    const message: Message = {
      ...encodePayload(requestBody(request), settings.serializer),
      headers: { clock: clock.forward(), expires: timeoutMs === null ? 0 : (Date.now() + timeoutMs) / 1000 },
      properties: { deliveryMode: 2, priority: 0 },
    };
    const to = { exchange: requestExchange(settings.namespace).name, routingKey: "" };
    await transport.publish(message, to, { mandatory, signal });
  }

  #prepare(signal: AbortSignal): Promise<void> {
    const { transport, settings } = this.#options;
    this.#ready ??= transport
      .connect(signal)
      .then(() => transport.declare([], [requestExchange(settings.namespace)]))
      .catch((error: unknown) => {
        this.#ready = null;
        throw error;
      });
    return this.#ready;
  }

  /** A broker that stays away is an error of the call, not a wait without end. */
  async #reach(act: (signal: AbortSignal) => Promise<void>, ended: AbortSignal | null = null): Promise<void> {
    const { patienceMs = 10_000 } = this.#options;
    const late = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let member: Abortable | null = null;
    const tooLate = new Promise<never>((_resolve, reject) => {
      const giveUp = (error: unknown) => {
        reject(error);
        late.abort(error);
      };
      timer = setTimeout(() => giveUp(unreached(patienceMs, this.#options.outage?.() ?? null)), patienceMs);
      if (ended === null) return;
      member = { onAbort: () => giveUp(ended.reason) };
      underSignals.join(ended, member);
    });
    const acting = act(late.signal);
    // Whoever comes second has no listener.
    acting.catch(() => undefined);
    try {
      await Promise.race([acting, tooLate]);
    } finally {
      clearTimeout(timer);
      if (ended !== null && member !== null) underSignals.leave(ended, member);
    }
  }

  /** The reply queue stands before a request names it. */
  #listen(): Promise<Consumer> {
    this.#listening ??= this.#startListening().catch((error: unknown) => {
      this.#listening = null;
      throw error;
    });
    return this.#listening;
  }

  async #startListening(): Promise<Consumer> {
    const { transport, settings } = this.#options;
    const queue = replyQueue(settings.namespace, this.#oid, settings.queues);
    await transport.declare([queue]);
    return transport.consume([queue.name], { prefetch: 0, noAck: true }, ({ message }) => this.#onReply(message));
  }
}

function requestOf(broadcast: Broadcast, ticket: string | null, replyTo: PidboxRequest["replyTo"]): PidboxRequest {
  const { method, arguments: given = {}, destination = null, pattern = null, matcher = null } = broadcast;
  return {
    method,
    arguments: given,
    destination: destination !== null && destination.length === 0 ? null : destination,
    pattern: pattern === null || matcher === null ? null : pattern,
    matcher: pattern === null || matcher === null ? null : matcher,
    ticket,
    replyTo,
  };
}

/** wire: kombu/pidbox.py `_broadcast`: a destination is a list, pattern and matcher are texts. */
function checkBroadcast({ method, destination, pattern, matcher }: Broadcast): void {
  if (typeof method !== "string" || method === "") throw new InvalidBroadcast("a control command is named by a text");
  if (destination !== undefined && destination !== null) {
    const names = Array.isArray(destination) && destination.every((name) => typeof name === "string");
    if (!names) throw new InvalidBroadcast("destination is an array of node names such as celery@host");
  }
  for (const [name, value] of Object.entries({ pattern, matcher })) {
    if (value !== undefined && value !== null && typeof value !== "string") {
      throw new InvalidBroadcast(`${name} is a text`);
    }
  }
}

function unreached(patienceMs: number, cause: Error | null): ConnectionLost {
  const why = cause === null ? "" : `: ${cause.message}`;
  return new ConnectionLost(`the broker could not be reached within ${patienceMs / 1000} seconds${why}`, {
    cause: cause ?? undefined,
  });
}
