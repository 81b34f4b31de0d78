/**
 * A worker's sign of life: online, a heartbeat every few seconds, offline. wire: celery/worker/heartbeat.py; behaviour 4.3.
 * Monitors show a worker offline that is silent for twice the interval.
 */
import { loadavg, type } from "node:os";
import { PyFloat } from "../../protocol/values.ts";
import type { TimerEntry, TimerHeap } from "../runtime/timer-heap.ts";
import type { EventDispatcher } from "./dispatcher.ts";

export interface HeartOptions {
  readonly dispatcher: Pick<EventDispatcher, "connected" | "refreshOffset" | "send">;
  readonly timers: TimerHeap;
  /** Seconds. */
  readonly interval: number;
  /** Tasks that run, and all that were accepted since the start. */
  readonly load: () => { active: number; processed: number };
  /** Of Lovage. */
  readonly version: string;
}

/** Seconds that a heartbeat which was asked for gives as its frequency. */
const REQUESTED_FREQUENCY = 5;

export class Heart {
  readonly #options: HeartOptions;
  #timer: TimerEntry | null = null;

  constructor(options: HeartOptions) {
    this.#options = options;
  }

  /** Says that the worker is there, and goes on saying so. Again after a reconnect: monitors that came meanwhile do not know it. */
  start(): void {
    this.#send("worker-online");
    this.#arm();
  }

  /** Says good-bye. */
  stop(): void {
    if (this.#timer !== null) this.#options.timers.cancel(this.#timer);
    this.#timer = null;
    this.#send("worker-offline");
  }

  /** One that a monitor asked for: it has neither load nor counts. wire: celery/worker/control.py `heartbeat`. */
  requested(): void {
    this.#options.dispatcher.send("worker-heartbeat", { freq: REQUESTED_FREQUENCY, ...this.#software() });
  }

  #arm(): void {
    const { timers, interval } = this.#options;
    if (this.#timer !== null) timers.cancel(this.#timer);
    this.#timer = timers.after(interval * 1000, () => {
      const { dispatcher } = this.#options;
      dispatcher.refreshOffset();
      // Told later it is no sign of life, but makes monitors and neighbours believe that our clock is wrong ("Substantial drift").
      if (dispatcher.connected) this.#send("worker-heartbeat");
      this.#arm();
    });
  }

  #send(event: string): void {
    const { dispatcher, interval, load } = this.#options;
    const { active, processed } = load();
    dispatcher.send(event, {
      freq: new PyFloat(interval),
      active,
      processed,
      // celery/utils/sysinfo.py: rounded up to two places.
      loadavg: loadavg().map((value) => new PyFloat(Math.ceil(value * 100) / 100)),
      ...this.#software(),
    });
  }

  #software(): Record<string, string> {
    return { sw_ident: "lovage", sw_ver: this.#options.version, sw_sys: type() };
  }
}
