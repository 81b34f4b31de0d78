/**
 * Runs whose message the broker has taken back, because a connection went or a task took too long: they go on, and are compared with
 * the store now and then, in case another node has begun them or someone has revoked them.
 */
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { Log } from "../../runtime/log.ts";
import type { DeliveryTimeout } from "../../transports/errors.ts";
import type { MognetWorkerParts } from "./parts.ts";
import type { Run } from "./run.ts";

/** How often they are compared. */
const RECHECK_MS = 5_000;

export interface LostMessagesHost {
  readonly parts: MognetWorkerParts;
  held(): Iterable<Run>;
  isStopping(): boolean;
  /** What the store says of a run. */
  compare(run: Run, result: MognetResult | null): void;
}

export class LostMessages {
  readonly #host: LostMessagesHost;
  readonly #log: Log;
  #recheck: NodeJS.Timeout | null = null;

  constructor(host: LostMessagesHost) {
    this.#host = host;
    this.#log = host.parts.log;
  }

  /** RabbitMQ's consumer timeout, to whoever reads the log. */
  explain(error: DeliveryTimeout): void {
    const oldest = [...this.#host.held()].filter((run) => run.delivery.lost);
    this.#log.error(
      {
        err: error,
        tasks: [...new Set(oldest.map((run) => run.request.name))].slice(0, 20),
        timeoutMs: error.timeoutMs,
      },
      "RabbitMQ took back the messages of tasks that run for longer than its consumer_timeout. They go on here; their messages come again, " +
        "to this worker (it goes on with them) or to another (which begins them anew). Raise consumer_timeout in rabbitmq.conf above the " +
        "longest run (in milliseconds; advanced.config: {rabbit, [{consumer_timeout, undefined}]} switches it off), or let long tasks ctx.pause() in between",
    );
  }

  /** As long as there are runs whose message is lost: is it still ours? */
  watch(): void {
    if (this.#recheck !== null || this.#host.isStopping()) return;
    this.#recheck = setTimeout(() => {
      this.#recheck = null;
      const lost = [...this.#host.held()].filter((run) => run.delivery.lost);
      if (lost.length === 0) return;
      this.compare(lost);
      this.watch();
    }, RECHECK_MS);
    this.#recheck.unref();
  }

  /** What does the store say of them? */
  compare(runs: readonly Run[]): void {
    const running = runs.filter((run) => run.state === "running" || run.state === "waiting");
    if (running.length === 0) return;
    this.#host.parts.store.getMany(running.map((run) => run.id)).then(
      (results) => {
        for (const [at, run] of running.entries()) this.#host.compare(run, results[at] ?? null);
      },
      (error: unknown) => this.#log.warn({ err: error }, "running tasks could not be compared with the store"),
    );
  }

  close(): void {
    if (this.#recheck !== null) clearTimeout(this.#recheck);
  }
}
