/** `app.events`: the stream of what workers and publishers tell, and what follows from it. wire: celery/app/events.py. */
import type { Celery } from "../app.ts";
import { checkCustomEvent } from "../events/custom.ts";
import { EventDispatcher } from "../events/dispatcher.ts";
import { EventReceiver, type ReceivedEvent } from "../events/receiver.ts";
import { eventSettings } from "../events/settings.ts";
import { State, type StateOptions } from "../events/state.ts";
import { EventStream } from "../events/stream.ts";
import { processOrigin } from "../runtime/ids.ts";
import { bool, count, structured, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";

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
  signal: structured("an AbortSignal", () => undefined),
  routingKey: text,
  wakeup: bool,
  maxWaiting: count({ min: 1 }),
};

export class Events {
  readonly #app: Celery;
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
    return new EventStream({
      maxWaiting,
      signal: signal ?? null,
      open: async (onEvent) => {
        const stop = await this.listen(onEvent, routingKey === undefined ? {} : { routingKey });
        if (wakeup) await this.#app.control.heartbeat();
        return stop;
      },
    });
  }

  /** Calls back with every event until the returned function is called; for those who want no stream. */
  async listen(
    onEvent: (event: ReceivedEvent) => void,
    { routingKey = "#" }: { routingKey?: string } = {},
  ): Promise<() => Promise<void>> {
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
    try {
      await transport.connect();
      await receiver.start();
    } catch (error) {
      await transport.close();
      throw error;
    }
    return async () => {
      await receiver.stop();
      await transport.close();
    };
  }

  /** An empty picture of a cluster; give it every event. */
  state(options: StateOptions = {}): State {
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
    await this.#dispatcher?.close();
  }
}
