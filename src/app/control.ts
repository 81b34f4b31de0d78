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
import {
  type AddConsumerOptions,
  type BroadcastOptions,
  type ControlOptions,
  checkArgument,
  checkControlOptions,
  checkTimeLimits,
  queueName,
  type RevokeOptions,
  rate as rateKind,
  slots,
  someText,
  stamps,
  taskIds,
  taskName,
} from "./control-options.ts";
import { Inspect } from "./inspect.ts";

export type { AddConsumerOptions, BroadcastOptions, ControlOptions, RevokeOptions };

/** Tells workers of either language what to do, and asks them (`inspect`). Got from `app.control`; Celery: `app.control`. */
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
    checkControlOptions(options, "app.control.inspect()");
    return new Inspect(this, options, this.#app.log);
  }

  /**
   * Sends a command to workers. With `reply` it resolves with what they answered, one map of node name to answer each, else with
   * null once the broker has the message. Throws `InvalidBroadcast` for what is no command or address, `ConnectionLost` when the
   * broker cannot be reached.
   */
  async broadcast(command: string, options: BroadcastOptions = {}): Promise<Reply[] | null> {
    checkControlOptions(options, `app.control.broadcast(${JSON.stringify(command)})`, "broadcast");
    const { arguments: given = {}, reply = false, destination, pattern, matcher, timeout = 1 } = options;
    const broadcast = {
      method: command,
      arguments: given,
      destination: typeof destination === "string" ? [destination] : (destination ?? null),
      pattern: pattern ?? null,
      matcher: matcher ?? null,
    };
    if (!reply) {
      await this.mailbox.cast(broadcast, options.signal ?? null);
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
    return (await this.#send("ping", {}, { ...checked(options, "ping"), reply: true })) ?? [];
  }

  /** Workers will not start these tasks; with `terminate` they end them where they run. */
  async revoke(ids: string | readonly string[], options: RevokeOptions = {}): Promise<Reply[] | null> {
    checkArgument(ids, taskIds, "app.control.revoke(): the ids");
    const { terminate = false, signalName = "SIGTERM", ...rest } = checked(options, "revoke", "revoke");
    return this.#send("revoke", { task_id: ids, terminate, signal: signalName }, rest);
  }

  /** `revoke` with `terminate`. */
  async terminate(
    ids: string | readonly string[],
    options: Omit<RevokeOptions, "terminate"> = {},
  ): Promise<Reply[] | null> {
    return this.revoke(ids, { ...checked(options, "terminate", "terminate"), terminate: true });
  }

  /** Revokes what has one of these stamps. */
  async revokeByStampedHeaders(
    headers: Readonly<Record<string, unknown>>,
    options: RevokeOptions = {},
  ): Promise<Reply[] | null> {
    checkArgument(headers, stamps, "app.control.revokeByStampedHeaders(): the headers");
    const { terminate = false, signalName = "SIGTERM", ...rest } = checked(options, "revokeByStampedHeaders", "revoke");
    return this.#send("revoke_by_stamped_headers", { headers, terminate, signal: signalName }, rest);
  }

  /** New rate limit of a task: `10/m`, a number of starts a second, or null for none. */
  async rateLimit(task: string, rate: string | number | null, options: ControlOptions = {}): Promise<Reply[] | null> {
    checkArgument(task, taskName, "app.control.rateLimit(): the task");
    checkArgument(rate, rateKind, "app.control.rateLimit(): the rate");
    return this.#send("rate_limit", { task_name: task, rate_limit: rate }, checked(options, "rateLimit"));
  }

  /** New time limits of a task, in seconds, for starts from now on. */
  async timeLimit(
    task: string,
    limits: { soft?: number | null; hard?: number | null },
    options: ControlOptions = {},
  ): Promise<Reply[] | null> {
    checkArgument(task, taskName, "app.control.timeLimit(): the task");
    checkTimeLimits(limits, "app.control.timeLimit()");
    const { soft = null, hard = null } = limits;
    return this.#send("time_limit", { task_name: task, hard, soft }, checked(options, "timeLimit"));
  }

  /** Workers begin to consume a queue. */
  async addConsumer(queue: string, options: AddConsumerOptions = {}): Promise<Reply[] | null> {
    checkArgument(queue, queueName, "app.control.addConsumer(): the queue");
    const {
      exchange = null,
      exchangeType = "direct",
      routingKey = null,
      options: more = {},
      ...rest
    } = checked(options, "addConsumer", "addConsumer");
    const given = { queue, exchange, exchange_type: exchangeType, routing_key: routingKey, ...more };
    return this.#send("add_consumer", given, rest);
  }

  /** Workers stop consuming a queue. */
  async cancelConsumer(queue: string, options: ControlOptions = {}): Promise<Reply[] | null> {
    checkArgument(queue, queueName, "app.control.cancelConsumer(): the queue");
    return this.#send("cancel_consumer", { queue }, checked(options, "cancelConsumer"));
  }

  async enableEvents(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("enable_events", {}, checked(options, "enableEvents"));
  }

  async disableEvents(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("disable_events", {}, checked(options, "disableEvents"));
  }

  /** Workers send a heartbeat now. */
  async heartbeat(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("heartbeat", {}, checked(options, "heartbeat"));
  }

  async poolGrow(n = 1, options: ControlOptions = {}): Promise<Reply[] | null> {
    checkArgument(n, slots, "app.control.poolGrow(): the number");
    return this.#send("pool_grow", { n }, checked(options, "poolGrow"));
  }

  async poolShrink(n = 1, options: ControlOptions = {}): Promise<Reply[] | null> {
    checkArgument(n, slots, "app.control.poolShrink(): the number");
    return this.#send("pool_shrink", { n }, checked(options, "poolShrink"));
  }

  async autoscale(max: number, min: number, options: ControlOptions = {}): Promise<Reply[] | null> {
    checkArgument(max, slots, "app.control.autoscale(): max");
    checkArgument(min, slots, "app.control.autoscale(): min");
    if (max < min) throw new ImproperlyConfigured(`app.control.autoscale(): max ${max} is less than min ${min}`);
    return this.#send("autoscale", { max, min }, checked(options, "autoscale"));
  }

  /** Workers replace the processes or threads of their pools. */
  async poolRestart(
    options: ControlOptions & { modules?: readonly string[] | null; reload?: boolean } = {},
  ): Promise<Reply[] | null> {
    const { modules = null, reload = false, ...rest } = checked(options, "poolRestart", "poolRestart");
    return this.#send("pool_restart", { modules, reload, reloader: null }, rest);
  }

  /** Workers stop, warm. Nobody answers. */
  async shutdown(options: ControlOptions = {}): Promise<Reply[] | null> {
    return this.#send("shutdown", {}, checked(options, "shutdown"));
  }

  /** Workers elect one of them, which then sends the signature `action`. A Celery worker that is alone ends when it is asked. */
  async election(
    id: string,
    topic: string,
    action: unknown = null,
    options: ControlOptions = {},
  ): Promise<Reply[] | null> {
    checkArgument(id, someText, "app.control.election(): the id");
    checkArgument(topic, someText, "app.control.election(): the topic");
    return this.#send("election", { id, topic, action }, checked(options, "election"));
  }

  /**
   * Deletes the messages that wait in the app's queues; resolves with their number. Throws `ConnectionLost` when the broker cannot be
   * reached within ten seconds.
   */
  async purge(): Promise<number> {
    const { transport } = this.#app;
    await this.mailbox.connect();
    const queues = this.#app.queues.configured;
    await transport.declare(queues);
    let deleted = 0;
    for (const queue of queues) deleted += await transport.purge(queue.name);
    return deleted;
  }

  /** @internal */
  get mailbox(): Mailbox {
    const { settings, transport, clock, log } = this.#app;
    const outage = () => this.#app.brokerOutage;
    this.#mailbox ??= new Mailbox({ settings: mailboxSettings(settings), transport, clock, log, outage });
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

/** The options of one method, once they are seen to be such. */
function checked<O extends ControlOptions>(
  options: O,
  method: string,
  more?: Parameters<typeof checkControlOptions>[2],
): O {
  checkControlOptions(options, `app.control.${method}()`, more);
  return options;
}
