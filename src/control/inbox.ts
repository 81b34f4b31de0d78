/**
 * A worker's mailbox: takes control messages, carries out those that address it and answers. Whatever comes in, it goes on.
 * wire: kombu/pidbox.py `Node`; celery/worker/pidbox.py; behaviour 3.1 and 3.2.
 */
import { EncodeError } from "../../protocol/errors.ts";
import {
  nodeQueue,
  type PidboxRequest,
  type ReplyTo,
  readRequest,
  replyExchange,
} from "../../protocol/kombu/pidbox.ts";
import type { Message } from "../../protocol/message.ts";
import type { Exchange } from "../../protocol/routing.ts";
import { reprException } from "../../protocol/saferepr.ts";
import { encodePayload } from "../../protocol/serialization.ts";
import { backoffMs, pause } from "../runtime/backoff.ts";
import { toRemoteException } from "../tasks/python-errors.ts";
import { QueueClash, TransportClosed } from "../transports/errors.ts";
import type { Consumer, Transport } from "../transports/transport.ts";
import { bindCommand, type CommandRegistry } from "./command.ts";
import { CommandError } from "./errors.ts";
import { addresses } from "./matcher.ts";
import { readBody } from "./read-body.ts";
import type { MailboxSettings } from "./settings.ts";
import { type ControlState, nok } from "./state.ts";

/** What a command returns that must not be answered: the caller of `shutdown` waits for nothing. */
export const NO_REPLY: unique symbol = Symbol("lovage.noReply");

export interface InboxOptions {
  readonly settings: MailboxSettings;
  /** Consumes the mailbox. */
  readonly transport: Transport;
  /** Publishes the replies; on the broker of `transport`. */
  readonly replies: Transport;
  readonly commands: CommandRegistry;
  readonly state: ControlState;
}

/** Replies on their way; of more, callers hear nothing. What they asked for is done all the same. */
const MOST_REPLIES = 10_000;
/** Bytes of those that are long: a list of revoked ids has two million. Short ones find room beside them. */
const MOST_REPLY_BYTES = 32 * 1024 * 1024;
const SHORT_REPLY = 16 * 1024;
/** Of one command that works at its answer, so many at a time; callers of more are told. */
const MOST_WORKING = 1_000;
/** Characters of strangers' texts in a line of the log. */
const LOGGED = 500;
/** Exchanges that replies may be asked to, beside our own. */
const MOST_EXCHANGES = 32;
/** AMQP has no longer names. */
const LONGEST_NAME = 255;
const TAKEN = { initialMs: 1_000, maxMs: 15_000 };

export class Inbox {
  readonly #options: InboxOptions;
  /** Exchanges for replies: whether they are there. */
  readonly #declared = new Map<string, Promise<boolean>>();
  readonly #stopped = new AbortController();
  #consumer: Consumer | null = null;
  #retrying: Promise<void> | null = null;
  #replies = 0;
  #replyBytes = 0;
  /** Commands under way by their names. */
  readonly #working = new Map<string, number>();

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /**
   * Listens. Where another node of this name holds the mailbox, that is logged and tried again in the background: the other
   * may be dead, and the broker not know it yet.
   */
  async start(): Promise<void> {
    if (await this.#listen()) return;
    this.#retrying = this.#listenLater();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#retrying;
    await this.#consumer?.cancel();
    this.#consumer = null;
  }

  async #listenLater(): Promise<void> {
    for (let attempt = 0; !this.#stopped.signal.aborted; attempt++) {
      await pause(backoffMs(attempt, TAKEN), this.#stopped.signal, true);
      if (this.#stopped.signal.aborted || (await this.#listen())) return;
    }
  }

  /** False: the mailbox is somebody else's. */
  async #listen(): Promise<boolean> {
    const { transport, settings, state } = this.#options;
    const queue = nodeQueue(settings.namespace, state.hostname, settings.queues);
    try {
      await transport.declare([queue]);
      if (queue.exclusive !== true) await this.#lookForOthers(queue.name);
      const options = { prefetch: 0, noAck: true };
      this.#consumer = await transport.consume([queue.name], options, ({ message }) => this.#onMessage(message));
      if (this.#stopped.signal.aborted) await this.#consumer.cancel();
      return true;
    } catch (error) {
      if (error instanceof TransportClosed) return true;
      if (!(error instanceof QueueClash)) throw error;
      state.log.error({ err: error, hostname: state.hostname }, inUse(state.hostname));
      return false;
    }
  }

  async #lookForOthers(queue: string): Promise<void> {
    const { transport, state } = this.#options;
    const found = await transport.inspectQueue(queue);
    if ((found?.consumers ?? 0) > 0) state.log.warn({ hostname: state.hostname }, inUse(state.hostname));
  }

  #onMessage(message: Message): void {
    const { settings, state } = this.#options;
    const { clock, log } = state;
    clock.forward();
    const read = readBody(message, settings);
    if ("refused" in read) return log.error({ reason: read.refused }, "a control message cannot be read");
    const request = readRequest(read.body);
    if (typeof request === "string") return log.error({ reason: request }, "a control message is none");
    clock.adjust(message.headers?.clock);
    try {
      if (!addresses(state.hostname, request)) return;
    } catch (error) {
      return log.error({ err: error, method: request.method }, "a control message addresses nobody");
    }
    this.#carryOut(request);
  }

  #carryOut(request: PidboxRequest): void {
    const { log } = this.#options.state;
    log.debug({ method: request.method, ticket: request.ticket }, "control message");
    let reply: unknown;
    try {
      reply = this.#handle(request);
    } catch (error) {
      return this.#answer(request, this.#failure(request, error));
    }
    if (!(reply instanceof Promise)) return this.#answer(request, reply);
    const { method } = request;
    this.#working.set(method, this.#workingOn(method) + 1);
    const settled: Promise<unknown> = reply.catch((error: unknown) => this.#failure(request, error));
    void settled.then((value) => {
      this.#working.set(method, this.#workingOn(method) - 1);
      this.#answer(request, value);
    });
  }

  #handle(request: PidboxRequest): unknown {
    const { commands, state } = this.#options;
    const command = commands.get(request.method);
    if (command === undefined) throw new CommandError("KeyError", [request.method]);
    if (this.#workingOn(request.method) >= MOST_WORKING) {
      throw new CommandError("RuntimeError", [`${MOST_WORKING} of this command are being worked on: try again later`]);
    }
    return command.handler(state, bindCommand(command, request.arguments));
  }

  #workingOn(method: string): number {
    return this.#working.get(method) ?? 0;
  }

  #failure(request: PidboxRequest, error: unknown): unknown {
    const { log } = this.#options.state;
    const text = errorText(error);
    const reason = text.slice(0, LOGGED);
    if (error instanceof CommandError) log.error({ method: request.method, reason }, "control command refused");
    else log.error({ method: request.method, err: error }, "control command failed");
    return nok(text);
  }

  #answer(request: PidboxRequest, reply: unknown): void {
    const { replyTo, method } = request;
    if (replyTo === null || reply === NO_REPLY) return;
    const { log } = this.#options.state;
    const failed = (error: unknown) => {
      if (!(error instanceof TransportClosed)) log.warn({ err: error, method }, "a reply could not be sent");
    };
    let message: Message;
    try {
      message = this.#message(request.ticket, reply ?? null);
    } catch (error) {
      return failed(error);
    }
    const bytes = message.body.byteLength <= SHORT_REPLY ? 0 : message.body.byteLength;
    if (this.#replies >= MOST_REPLIES || (bytes > 0 && this.#replyBytes >= MOST_REPLY_BYTES)) {
      const onTheirWay = { replies: this.#replies, bytes: this.#replyBytes, method };
      return log.warn(onTheirWay, "too many replies are on their way: a caller gets none");
    }
    this.#replies++;
    this.#replyBytes += bytes;
    void this.#send(replyTo, message)
      .catch(failed)
      .finally(() => {
        this.#replies--;
        this.#replyBytes -= bytes;
      });
  }

  async #send(to: ReplyTo, message: Message): Promise<void> {
    const { replies, state } = this.#options;
    if (!(await this.#assureExchange(to.exchange))) {
      const exchange = to.exchange.slice(0, LOGGED);
      return state.log.warn({ exchange }, "a reply is wanted on an exchange that is no mailbox's");
    }
    await replies.publish(message, to, { mandatory: false });
  }

  #message(ticket: string | null, reply: unknown): Message {
    const { settings, state } = this.#options;
    const headers = { ticket, clock: state.clock.forward() };
    const properties = { deliveryMode: 1, priority: 0 };
    const named = (value: unknown) => ({
      ...encodePayload({ [state.hostname]: value }, settings.serializer),
      headers,
      properties,
    });
    try {
      return named(reply);
    } catch (error) {
      if (!(error instanceof EncodeError)) throw error;
      return named(nok(errorText(error)));
    }
  }

  /**
   * wire: `_publish_reply` declares the exchange that the request names. One that is no mailbox's is left alone, and so is one that the
   * broker has in another form: asking again for every message would cost a channel each time.
   */
  #assureExchange(name: string): Promise<boolean> | boolean {
    if (name === "") return true;
    const { settings, replies } = this.#options;
    const own = replyExchange(settings.namespace);
    const known = this.#declared.get(name);
    if (known !== undefined) return known;
    const isReply = name.startsWith("reply.") && name.endsWith(".pidbox") && name.length <= LONGEST_NAME;
    if (name !== own.name && (!isReply || this.#declared.size > MOST_EXCHANGES)) return false;
    const declared = this.#declare(replies, { ...own, name });
    this.#declared.set(name, declared);
    declared.catch(() => this.#declared.delete(name));
    return declared;
  }

  async #declare(replies: Transport, exchange: Exchange): Promise<boolean> {
    await replies.connect();
    try {
      await replies.declare([], [exchange]);
      return true;
    } catch (error) {
      if (error instanceof QueueClash) return false;
      throw error;
    }
  }
}

/** `KeyError('no_such_command')`: the exception as Python shows it. */
export function errorText(error: unknown): string {
  if (error instanceof CommandError) return reprException(error.type, error.args);
  const { type, args } = toRemoteException(error);
  return reprException(type, args);
}

/** wire: kombu/pidbox.py `W_PIDBOX_IN_USE`, in our words. */
function inUse(hostname: string): string {
  return `another node named ${hostname} uses this mailbox: give each worker a name of its own (name, or -n)`;
}
