/** Says when the event loop was blocked for so long that brokers may give up on us. wire: mognet/app/app.py `_background_heartbeat`. */
import type { Log } from "../../runtime/log.ts";

const EVERY_MS = 5_000;
const TOO_LATE_MS = 5_000;

export class Heartbeat {
  #timer: NodeJS.Timeout | null = null;

  start(log: Log): void {
    let due = performance.now() + EVERY_MS;
    this.#timer = setInterval(() => {
      const lateMs = Math.round(performance.now() - due);
      due = performance.now() + EVERY_MS;
      if (lateMs <= TOO_LATE_MS) return;
      log.error(
        { ms: lateMs },
        "a task kept the event loop busy: nothing else ran meanwhile, heartbeats neither; await in between",
      );
    }, EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
