/** `app.events`: the stream of what workers and publishers tell, and what follows from it. wire: celery/app/events.py. */

import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Celery } from "../app.ts";
import { checkCustomEvent } from "../events/custom.ts";
import { EventDispatcher } from "../events/dispatcher.ts";
import { EventReceiver, type ReceivedEvent } from "../events/receiver.ts";
import { eventSettings } from "../events/settings.ts";
import { State, type StateOptions } from "../events/state.ts";
import { EventStream } from "../events/stream.ts";
import { processOrigin } from "../runtime/ids.ts";
import { bool, count, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { abortSignal, anyFunction } from "./control-options.ts";

/** For `app.events.receive()`. Celery: `Receiver.capture`. */
export interface ReceiveOptions {
  /** Ends the stream. */
  signal?: AbortSignal;
  /** Which events, by routing key: `worker.#`, `task.#`. @default "#": all */
  routingKey?: string;
  /** Asks all workers for a heartbeat, so that those that are there are seen at once. @default true */
  wakeup?: boolean;
  /** Events that wait for a slow reader; of more the oldest are let go and counted. @default 100_000 */
  maxWaiting?: number;
}

const OPTIONS: OptionKinds = {
  signal: abortSignal,
  routingKey: text,
  wakeup: bool,
  maxWaiting: count({ min: 1 }),
};

/** For `app.events.listen()`. */
export interface ListenOptions {
  /** Gives up connecting, or ends what was begun. */
  signal?: AbortSignal;
  /** Which events, by routing key: `worker.#`, `task.#`. @default "#": all */
  routingKey?: string;
}

const LISTEN_OPTIONS: OptionKinds = { signal: abortSignal, routingKey: text };
const STATE_OPTIONS: OptionKinds = {
  maxWorkers: count({ min: 1 }),
  maxTasks: count({ min: 1 }),
  maxTaskCharacters: count({ min: 1 }),
  now: anyFunction,
};

/** Events of the fleet, read and sent. Got from `app.events`; Celery: `app.events`. */
export class Events {
  readonly #app: Celery;
  /** Ends what still listens when the app closes. */
  readonly #ends = new Set<() => Promise<unknown>>();
  #closed = false;
  #dispatcher: EventDispatcher | null = null;

  constructor(app: Celery) {
    this.#app = app;
  }

  /**
   * The events of the fleet from now on: `for await (const event of app.events.receive({ signal }))`. Ends with `signal`, or when
   * the loop is left. While the connection is away nothing is received; it goes on by itself.
   */
  receive(options: ReceiveOptions = {}): EventStream {
    checkOptionObject(options, OPTIONS, "app.events.receive()");
    const { signal, routingKey, wakeup = true, maxWaiting = 100_000 } = options;
    const stream: EventStream = new EventStream({
      maxWaiting,
      signal: signal ?? null,
      open: async (onEvent, ended) => {
        const end = () => stream.return();
        this.#ends.add(end);
        let stop: () => Promise<void>;
        try {
          stop = await this.listen(onEvent, { signal: ended, ...(routingKey === undefined ? {} : { routingKey }) });
          if (wakeup) await this.#wake(ended);
        } catch (error) {
          this.#ends.delete(end);
          throw error;
        }
        return async () => {
          this.#ends.delete(end);
          await stop();
        };
      },
    });
    return stream;
  }

  /**
   * Calls back with every event until the returned function is called, `signal` aborts or the app is closed; for those who want no
   * stream. Rejects with the signal's reason when that aborts while the broker is not reached yet.
   */
  async listen(onEvent: (event: ReceivedEvent) => void, options: ListenOptions = {}): Promise<() => Promise<void>> {
    anyFunction.parse(onEvent, "app.events.listen(): the first argument");
    checkOptionObject(options, LISTEN_OPTIONS, "app.events.listen()");
    if (this.#closed) throw new ImproperlyConfigured(`the app ${this.#app.name} is closed`);
    const { routingKey = "#", signal } = options;
    signal?.throwIfAborted();
    const { settings, clock, log } = this.#app;
    const transport = this.#app.consumerTransport();
    const receiver = new EventReceiver({
      settings: eventSettings(settings),
      transport,
      clock,
      log,
      routingKey,
      onEvent,
    });
    const ending = new AbortController();
    let stopping: Promise<void> | null = null;
    const stop = (reason?: unknown): Promise<void> => {
      ending.abort(reason);
      stopping ??= end();
      return stopping;
    };
    const end = async () => {
      this.#ends.delete(stop);
      signal?.removeEventListener("abort", onAbort);
      await receiver.stop();
      await transport.close();
    };
    const onAbort = () => {
      stop(signal?.reason).catch((error: unknown) => log.debug({ err: error }, "listening did not end in order"));
    };
    this.#ends.add(stop);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await transport.connect(ending.signal);
      await receiver.start();
      ending.signal.throwIfAborted();
    } catch (error) {
      await stop(error);
      throw ending.signal.reason;
    }
    return () => stop();
  }

  /** Those that are there are seen at once; the stream is as good without. */
  async #wake(signal: AbortSignal): Promise<void> {
    try {
      await this.#app.control.heartbeat({ signal });
    } catch (error) {
      if (!signal.aborted) this.#app.log.warn({ err: error }, "workers could not be asked for a heartbeat");
    }
  }

  /** An empty picture of a cluster; give it every event. */
  state(options: StateOptions = {}): State {
    checkOptionObject(options, STATE_OPTIONS, "app.events.state()");
    return new State(options);
  }

  /** Sends an event of this process's own, by itself. Throws `InvalidEvent`. */
  send(type: string, fields: Readonly<Record<string, unknown>> = {}): void {
    checkCustomEvent("app.events.send()", type, fields);
    this.dispatcher.sendSingly(type, fields);
  }

  /** What this process sends as a publisher. @internal */
  get dispatcher(): EventDispatcher {
    const { settings, transport, clock, log } = this.#app;
    const { exchange, serializer } = eventSettings(settings);
    this.#dispatcher ??= new EventDispatcher({
      transport,
      clock,
      hostname: processOrigin(),
      exchange,
      serializer,
      groups: null,
      log,
    });
    return this.#dispatcher;
  }

  /** @internal */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#ends].map((end) => end()));
    await this.#dispatcher?.close();
  }
}
