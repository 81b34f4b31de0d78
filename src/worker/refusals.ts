/**
 * What becomes of a message that this worker does not run: it is dropped, or whoever waits is told FAILURE before the message
 * leaves its queue, so that a crash between leaves the message. wire: celery/worker/consumer/consumer.py `on_unknown_task`.
 */
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { TaskHead } from "../../protocol/celery/task-message.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import type { Log } from "../runtime/log.ts";
import { NotRegistered } from "../tasks/errors.ts";
import { toRemoteException } from "../tasks/python-errors.ts";
import type { Delivery } from "../transports/transport.ts";
import type { Effects } from "./effects.ts";
import { type Decision, type FailedHead, type IntakeRules, readIfPossible } from "./intake.ts";
import type { WorkerStats } from "./report.ts";
import { type RecordOptions, resultRecord } from "./result-records.ts";
import type { TaskEvents } from "./task-events.ts";

export interface RefusalParts {
  backend: ResultBackend<ResultMeta> | null;
  events: TaskEvents;
  effects: Effects;
  records: RecordOptions;
  rules: IntakeRules;
  /** What waits for what never comes is told so. */
  thorough: boolean;
  stats: WorkerStats;
  /** A stop waits until the returned function is called. */
  hold: () => () => void;
  log: Log;
}

export class Refusals {
  readonly #parts: RefusalParts;

  constructor(parts: RefusalParts) {
    this.#parts = parts;
  }

  /** Nobody can be told. */
  drop(delivery: Delivery, { level, reason, error, settle }: Decision & { kind: "drop" }): void {
    const { stats, log } = this.#parts;
    stats.refused++;
    log[level]({ queue: delivery.info.queue, err: error }, reason);
    if (settle === "ack") delivery.ack();
    else delivery.reject({ requeue: false });
  }

  fail(delivery: Delivery, { head, reason, error }: Decision & { kind: "fail" }): void {
    const { stats, log } = this.#parts;
    stats.refused++;
    log.error({ task: head.task, id: head.id, err: error }, reason);
    this.#failAndReject(delivery, head, error);
  }

  unregistered(delivery: Delivery, head: TaskHead): void {
    const { stats, log } = this.#parts;
    stats.refused++;
    log.error({ task: head.task, id: head.id, queue: delivery.info.queue }, "received unregistered task");
    this.#failAndReject(delivery, { id: head.id, task: head.task, head }, new NotRegistered(head.task));
  }

  #failAndReject(delivery: Delivery, failed: FailedHead, error: unknown): void {
    const { backend, events, hold, log } = this.#parts;
    events.refused(failed.id, error);
    const done = hold();
    const settle = () => {
      delivery.reject({ requeue: false });
      done();
    };
    if (backend === null) return settle();
    const settleChords = () => {
      this.#failStranded(delivery, failed.head, error).then(settle, (chordError: unknown) => {
        log.error({ err: chordError, id: failed.id }, "the chord of what does not run here could not be failed");
        settle();
      });
    };
    const { replyTo = null } = delivery.message.properties;
    backend
      .store(failed.id, this.#recordOf(failed, error), { replyTo, correlationId: failed.id })
      .then(settleChords, (storeError: unknown) => {
        log.error({ err: storeError, id: failed.id }, "the failure could not be stored");
        settle();
      });
  }

  #recordOf({ id, head }: FailedHead, error: unknown): ResultMeta {
    const { records } = this.#parts;
    const exception = toRemoteException(error);
    const bare = { status: "FAILURE", result: null, exception, traceback: null, children: null };
    if (head === null) return { ...bare, dateDone: records.isoNow(), taskId: id };
    return resultRecord(head, { ...bare, children: [] }, records);
  }

  /** In Celery what waits for a task that no worker here knows hangs. Only the body of the message says what that is. */
  async #failStranded(delivery: Delivery, head: TaskHead | null, error: unknown): Promise<void> {
    const { effects, rules, thorough } = this.#parts;
    if (head === null || !thorough) return;
    const task = readIfPossible(head, delivery.message, rules);
    if (task === null || (task.embed.chord === null && task.embed.chain === null)) return;
    const { id, rootId, replyTo, priority } = task;
    const origin = { id, rootId, replyTo, priority, children: [], context: null };
    await effects.failStranded(task, task.embed, error, origin);
  }
}
