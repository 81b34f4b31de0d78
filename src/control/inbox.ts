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

/** Replies on their way or being worked out; more are not answered. */
const MOST_PENDING = 1_000;
/** Exchanges that replies may be asked to, beside our own. */
const MOST_EXCHANGES = 32;
const TAKEN = { initialMs: 1_000, maxMs: 15_000 };

export class Inbox {
  readonly #options: InboxOptions;
  readonly #declared = new Map<string, Promise<void>>();
  readonly #stopped = new AbortController();
  #consumer: Consumer | null = null;
  #retrying: Promise<void> | null = null;
  #pending = 0;
  #saidBusy = false;

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
    if (this.#pending >= MOST_PENDING) {
      if (!this.#saidBusy)
        log.warn({ pending: this.#pending }, "too many control messages at a time: some get no answer");
      this.#saidBusy = true;
      return;
    }
    let reply: unknown;
    try {
      reply = this.#handle(request);
    } catch (error) {
      return this.#answer(request, this.#failure(request, error));
    }
    if (!(reply instanceof Promise)) return this.#answer(request, reply);
    this.#pending++;
    const settled: Promise<unknown> = reply.catch((error: unknown) => this.#failure(request, error));
    void settled.then((value) => {
      this.#pending--;
      this.#answer(request, value);
    });
  }

  #handle(request: PidboxRequest): unknown {
    const { commands, state } = this.#options;
    const command = commands.get(request.method);
    if (command === undefined) throw new CommandError("KeyError", [request.method]);
    return command.handler(state, bindCommand(command, request.arguments));
  }

  #failure(request: PidboxRequest, error: unknown): unknown {
    const { log } = this.#options.state;
    const text = errorText(error);
    if (error instanceof CommandError) log.error({ method: request.method, reason: text }, "control command refused");
    else log.error({ method: request.method, err: error }, "control command failed");
    return nok(text);
  }

  #answer(request: PidboxRequest, reply: unknown): void {
    if (request.replyTo === null || reply === NO_REPLY) return;
    this.#pending++;
    void this.#send(request.replyTo, request.ticket, reply ?? null)
      .catch((error: unknown) => {
        if (error instanceof TransportClosed) return;
        this.#options.state.log.warn({ err: error, method: request.method }, "a reply could not be sent");
      })
      .finally(() => {
        this.#pending--;
      });
  }

  async #send(to: ReplyTo, ticket: string | null, reply: unknown): Promise<void> {
    const { replies, state } = this.#options;
    const message = this.#message(ticket, reply);
    if (!(await this.#assureExchange(to.exchange))) {
      return state.log.warn({ exchange: to.exchange }, "a reply is wanted on an exchange that is no mailbox's");
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

  /** wire: `_publish_reply` declares the exchange that the request names. One that is no mailbox's is left alone. */
  async #assureExchange(name: string): Promise<boolean> {
    if (name === "") return true;
    const { settings, replies } = this.#options;
    const own = replyExchange(settings.namespace);
    let declared = this.#declared.get(name);
    if (declared === undefined) {
      if (name !== own.name && (!name.endsWith(".pidbox") || this.#declared.size > MOST_EXCHANGES)) return false;
      declared = replies.connect().then(() => replies.declare([], [{ ...own, name }]));
      this.#declared.set(name, declared);
      declared.catch(() => this.#declared.delete(name));
    }
    await declared;
    return true;
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
