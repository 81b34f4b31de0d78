/**
 * `app.control`: looks into workers and steers them, Python's and ours alike. Methods are Celery's in camelCase.
 * wire: celery/app/control.py; behaviour 3.2 and 3.3.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Celery } from "../app.ts";
import { type Command, CommandRegistry } from "../control/command.ts";
import { celeryCommands } from "../control/commands/index.ts";
import { Mailbox, type Reply } from "../control/mailbox.ts";
import { mailboxSettings } from "../control/settings.ts";
import { bool, count, nullable, structured, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { Inspect } from "./inspect.ts";

/** Whom a control message addresses, and whether it is to be answered. */
export interface ControlOptions {
  /** Node names such as `celery@host`. @default every worker */
  destination?: string | readonly string[] | null;
  /** Workers whose node name fits; together with `matcher`. */
  pattern?: string | null;
  /** How `pattern` is read: `glob`, or `pcre`, a regular expression. */
  matcher?: "glob" | "pcre" | null;
  /** Wait for the replies. @default false for what changes something, true for `ping` and `inspect` */
  reply?: boolean;
  /** Seconds of silence after which no more replies are expected. @default 1 */
  timeout?: number;
  /** Replies after which nothing more is waited for. @default when all destinations have replied */
  limit?: number | null;
  /** Called with each reply as it comes. */
  callback?: ((reply: Reply) => void) | null;
  /** False: wait the whole time, also when every worker that is known has replied. @default true */
  early?: boolean;
  signal?: AbortSignal;
}

export interface BroadcastOptions extends ControlOptions {
  /** Keyword arguments of the command. */
  arguments?: Readonly<Record<string, unknown>>;
}

export interface RevokeOptions extends ControlOptions {
  /** Also end the task where it runs. @default false */
  terminate?: boolean;
  /** The signal for that, by name. @default "SIGTERM" */
  signalName?: string;
}

export interface AddConsumerOptions extends ControlOptions {
  exchange?: string | null;
  exchangeType?: "direct" | "topic" | "fanout" | "headers";
  routingKey?: string | null;
  /** Further options of Kombu's queues: `durable`, `auto_delete`, `expires`, `message_ttl`, `max_priority`, `queue_arguments`, … */
  options?: Readonly<Record<string, unknown>>;
}

const seconds = structured("a number of seconds, above 0", (value) => {
  if (!(typeof value === "number" && value > 0 && value <= 2_000_000)) {
    throw new ImproperlyConfigured("timeout is a number of seconds, above 0");
  }
});
const anything = structured("a value", () => undefined);

const OPTIONS: OptionKinds = {
  destination: anything,
  pattern: nullable(text),
  matcher: nullable(text),
  reply: bool,
  timeout: seconds,
  limit: nullable(count()),
  callback: anything,
  early: bool,
  signal: anything,
  arguments: anything,
  terminate: bool,
  signalName: text,
  exchange: nullable(text),
  exchangeType: text,
  routingKey: nullable(text),
  options: anything,
};

export class Control {
  readonly #app: Celery;
  #mailbox: Mailbox | null = null;
  /** Commands that workers of this app answer: Celery's, and those registered here. */
  readonly commands = new CommandRegistry(celeryCommands);

  constructor(app: Celery) {
    this.#app = app;
  }

  /** Adds commands of your own, made with `controlCommand()`, to what this app's workers answer. */
  register(...commands: readonly Command[]): this {
    for (const command of commands) {
      if (typeof command?.handler !== "function") {
        throw new ImproperlyConfigured("app.control.register() takes commands that controlCommand() made");
      }
      this.commands.add(command);
    }
    return this;
  }

  /** Questions to workers: `app.control.inspect({ destination, timeout }).active()`. */
  inspect(options: Omit<ControlOptions, "reply"> = {}): Inspect {
    checkOptionObject(options, OPTIONS, "app.control.inspect()");
    return new Inspect(this, options, this.#app.log);
  }

  /**
   * Sends a command to workers. With `reply` it resolves with what they answered, one map of node name to answer each, else with
   * null once the broker has the message. Throws `InvalidBroadcast` for what is no command or address, `ConnectionLost` when the
   * broker cannot be reached.
   */
  async broadcast(command: string, options: BroadcastOptions = {}): Promise<Reply[] | null> {
    checkOptionObject(options, OPTIONS, `app.control.broadcast(${JSON.stringify(command)})`);
    const { arguments: given = {}, reply = false, destination, pattern, matcher, timeout = 1 } = options;
    if ((pattern == null) !== (matcher == null)) {
      throw new ImproperlyConfigured("pattern and matcher go together");
    }
    const broadcast = {
      method: command,
      arguments: given,
      destination: typeof destination === "string" ? [destination] : (destination ?? null),
      pattern: pattern ?? null,
      matcher: matcher ?? null,
    };
    if (!reply) {
      await this.mailbox.cast(broadcast);
      return null;
    }
    return this.mailbox.call(broadcast, {
      timeoutMs: timeout * 1000,
      limit: options.limit ?? null,
      onReply: options.callback ?? null,
      early: options.early ?? true,
      signal: options.signal ?? null,
    });
  }

  /** Which workers are there. */
  async ping(options: ControlOptions = {}): Promise<Reply[]> {
    return (await this.broadcast("ping", { ...options, reply: true })) ?? [];
  }

  /** Workers will not start these tasks; with `terminate` they end them where they run. */
  revoke(ids: string | readonly string[], options: RevokeOptions = {}): Promise<Reply[] | null> {
    const { terminate = false, signalName = "SIGTERM", ...rest } = options;
    return this.#send("revoke", { task_id: ids, terminate, signal: signalName }, rest);
  }

  /** `revoke` with `terminate`. */
  terminate(ids: string | readonly string[], options: Omit<RevokeOptions, "terminate"> = {}): Promise<Reply[] | null> {
    return this.revoke(ids, { ...options, terminate: true });
  }

  /** Revokes what has one of these stamps. */
  revokeByStampedHeaders(
    headers: Readonly<Record<string, unknown>>,
    options: RevokeOptions = {},
  ): Promise<Reply[] | null> {
    const { terminate = false, signalName = "SIGTERM", ...rest } = options;
    return this.#send("revoke_by_stamped_headers", { headers, terminate, signal: signalName }, rest);
  }

  /** New rate limit of a task: `10/m`, a number of starts a second, or null for none. */
  rateLimit(task: string, rate: string | number | null, options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("rate_limit", { task_name: task, rate_limit: rate }, options);
  }

  /** New time limits of a task, in seconds, for starts from now on. */
  timeLimit(
    task: string,
    limits: { soft?: number | null; hard?: number | null },
    options: ControlOptions = {},
  ): Promise<Reply[] | null> {
    const { soft = null, hard = null } = limits;
    return this.#send("time_limit", { task_name: task, hard, soft }, options);
  }

  /** Workers begin to consume a queue. */
  addConsumer(queue: string, options: AddConsumerOptions = {}): Promise<Reply[] | null> {
    const { exchange = null, exchangeType = "direct", routingKey = null, options: more = {}, ...rest } = options;
    const given = { queue, exchange, exchange_type: exchangeType, routing_key: routingKey, ...more };
    return this.#send("add_consumer", given, rest);
  }

  /** Workers stop consuming a queue. */
  cancelConsumer(queue: string, options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("cancel_consumer", { queue }, options);
  }

  enableEvents(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("enable_events", {}, options);
  }

  disableEvents(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("disable_events", {}, options);
  }

  /** Workers send a heartbeat now. */
  heartbeat(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("heartbeat", {}, options);
  }

  poolGrow(n = 1, options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("pool_grow", { n }, options);
  }

  poolShrink(n = 1, options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("pool_shrink", { n }, options);
  }

  autoscale(max: number, min: number, options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("autoscale", { max, min }, options);
  }

  /** Workers replace the processes or threads of their pools. */
  poolRestart(
    options: ControlOptions & { modules?: readonly string[] | null; reload?: boolean } = {},
  ): Promise<Reply[] | null> {
    const { modules = null, reload = false, ...rest } = options;
    return this.#send("pool_restart", { modules, reload, reloader: null }, rest);
  }

  /** Workers stop, warm. Nobody answers. */
  shutdown(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("shutdown", {}, options);
  }

  /** Workers elect one of them, which then sends the signature `action`. A Celery worker that is alone ends when it is asked. */
  election(id: string, topic: string, action: unknown = null, options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("election", { id, topic, action }, options);
  }

  /** Deletes the messages that wait in the app's queues; resolves with their number. */
  async purge(): Promise<number> {
    const { transport } = this.#app;
    await transport.connect();
    const queues = this.#app.queues.configured;
    await transport.declare(queues);
    let deleted = 0;
    for (const queue of queues) deleted += await transport.purge(queue.name);
    return deleted;
  }

  /** @internal */
  get mailbox(): Mailbox {
    const { settings, transport, clock, log } = this.#app;
    this.#mailbox ??= new Mailbox({ settings: mailboxSettings(settings), transport, clock, log });
    return this.#mailbox;
  }

  /** @internal */
  async close(): Promise<void> {
    await this.#mailbox?.close();
  }

  #send(command: string, given: Readonly<Record<string, unknown>>, options: ControlOptions): Promise<Reply[] | null> {
    return this.broadcast(command, { ...options, arguments: given });
  }
}
