/**
 * What happens to a task name that this worker does not know. Celery rejects the message and stores NotRegistered; in a
 * mixed fleet on one queue it can instead be handed back after a delay, or passed on to another queue, each counted.
 */
import type { TaskHead } from "../../protocol/celery/task-message.ts";
import type { Message } from "../../protocol/message.ts";
import type { TimerHeap } from "../runtime/timer-heap.ts";
import type { Settings } from "../settings/settings.ts";
import type { Delivery, Transport } from "../transports/transport.ts";
import type { Prefetch } from "./prefetch.ts";

/** The header in which a passed-on message counts its passes. */
export const FORWARDS_HEADER = "lovage_forwards";

export interface UnknownTaskHost {
  readonly settings: Settings;
  readonly timers: TimerHeap;
  readonly transport: Transport;
  readonly prefetch: Prefetch;
  /** Celery's answer: reject and store NotRegistered. */
  answer(delivery: Delivery, head: TaskHead): void;
  say(level: "warn" | "error", head: TaskHead, message: string, fields?: object): void;
}

/** How many ids the hand-back counter remembers. */
const REMEMBERED = 10_000;

export class UnknownTasks {
  readonly #host: UnknownTaskHost;
  readonly #returns = new Map<string, number>();

  constructor(host: UnknownTaskHost) {
    this.#host = host;
  }

  handle(delivery: Delivery, head: TaskHead): void {
    switch (this.#host.settings.lovage_unknown_task) {
      case "requeue":
        return this.#handBack(delivery, head);
      case "forward":
        return this.#forward(delivery, head);
      default:
        return this.#host.answer(delivery, head);
    }
  }

  /** The message waits here, unsettled, and goes back to its queue after the delay: no hot loop, and a crash returns it too. */
  #handBack(delivery: Delivery, head: TaskHead): void {
    const { settings, timers, prefetch } = this.#host;
    const count = (this.#returns.get(head.id) ?? 0) + 1;
    this.#returns.delete(head.id);
    this.#returns.set(head.id, count);
    if (this.#returns.size > REMEMBERED) this.#returns.delete(this.#returns.keys().next().value ?? "");
    const delay = settings.lovage_unknown_task_delay;
    this.#host.say("warn", head, `unregistered task, handed back in ${delay} s`, { returns: count });
    prefetch.hold();
    timers.after(delay * 1000, () => {
      prefetch.release();
      if (!delivery.lost) delivery.reject({ requeue: true });
    });
  }

  #forward(delivery: Delivery, head: TaskHead): void {
    const { settings, transport } = this.#host;
    const target = settings.lovage_unknown_task_queue;
    const passed = delivery.message.headers?.[FORWARDS_HEADER];
    const count = (typeof passed === "number" ? passed : 0) + 1;
    if (target === null || target === delivery.info.queue || count > settings.lovage_unknown_task_max_forwards) {
      return this.#host.answer(delivery, head);
    }
    const message: Message = {
      ...delivery.message,
      headers: { ...delivery.message.headers, [FORWARDS_HEADER]: count },
    };
    transport.publish(message, { exchange: "", routingKey: target }).then(
      () => {
        this.#host.say("warn", head, `unregistered task, passed on to queue ${target}`, { forwards: count });
        delivery.ack();
      },
      (error: unknown) => {
        this.#host.say("error", head, `unregistered task could not be passed on to queue ${target}`, { err: error });
        this.#handBack(delivery, head);
      },
    );
  }
}
