/**
 * Messages read as requests. What is none is discarded, and whoever waits for its result is told, where the message says whose it is.
 * wire: mognet 5.1; mognet/worker/worker.py `_process_request_message`.
 */
import { DecodeError } from "../../../protocol/errors.ts";
import { decodeMognetEnvelope, mognetRequestIdIn } from "../../../protocol/mognet/message.ts";
import { mognetIdOrNull } from "../../../protocol/mognet/names.ts";
import { mognetErrorValue } from "../../../protocol/mognet/refusals.ts";
import { decodeMognetRequestPayload, type MognetRequest } from "../../../protocol/mognet/request.ts";
import { finishedResult, isDoneResult } from "../../../protocol/mognet/result.ts";
import { mognetTimestamp } from "../../../protocol/mognet/times.ts";
import { isRecord } from "../../../protocol/records.ts";
import { newId } from "../../runtime/ids.ts";
import type { Log } from "../../runtime/log.ts";
import type { Delivery } from "../../transports/transport.ts";
import type { MognetWorkerParts } from "./parts.ts";

export interface IntakeHost {
  readonly parts: MognetWorkerParts;
  /** One is no request. */
  refused(): void;
  /** It is settled. */
  answered(): void;
}

export class Intake {
  readonly #host: IntakeHost;
  readonly #parts: MognetWorkerParts;
  readonly #log: Log;
  #answering = 0;

  constructor(host: IntakeHost) {
    this.#host = host;
    this.#parts = host.parts;
    this.#log = host.parts.log;
  }

  /** Messages that are answered without becoming a run. */
  get answering(): number {
    return this.#answering;
  }

  /** Null: it is none, and is answered. */
  read(delivery: Delivery): MognetRequest | null {
    const { message } = delivery;
    const { lovage } = this.#parts.config;
    let payload: unknown = null;
    try {
      if (message.refused !== undefined) throw new DecodeError(message.refused);
      if (message.body.byteLength > lovage.max_message_bytes) {
        throw new DecodeError(`a message of ${message.body.byteLength} bytes, more than lovage.max_message_bytes`);
      }
      const envelope = decodeMognetEnvelope(message.body, {
        floats: lovage.exact_floats ? "keep" : "number",
        maxDepth: lovage.max_message_depth,
      });
      payload = envelope.payload;
      if (envelope.kind !== "Request")
        throw new DecodeError(`a message of kind ${JSON.stringify(envelope.kind.slice(0, 60))}`);
      return decodeMognetRequestPayload(envelope.payload, newId);
    } catch (error) {
      this.#refuse(delivery, payload, error);
      return null;
    }
  }

  /** Mognet acks it, and its result stays PENDING for ever. Here whoever waits for it is told, if it says who. */
  #refuse(delivery: Delivery, payload: unknown, error: unknown): void {
    this.#host.refused();
    const { properties } = delivery.message;
    const told = isRecord(payload) && typeof payload.id === "string" ? payload.id : this.#idIn(delivery);
    const id = mognetIdOrNull(told ?? properties.messageId ?? "");
    this.#log.error({ err: error, id, queue: delivery.info.queue }, "a message that is no request is discarded");
    const settle = () => delivery.reject({ requeue: false });
    if (id === null) return settle();
    const reason = error instanceof Error ? error.message : String(error);
    this.#answering++;
    this.#invalidate(id, `the request cannot be read: ${reason}`)
      .catch((failure: unknown) =>
        this.#log.error({ err: failure, id }, "the result of a message that is no request stays as it is"),
      )
      .then(settle)
      .finally(() => {
        this.#answering--;
        this.#host.answered();
      });
  }

  /** Of a message whose envelope cannot be read. */
  #idIn({ message }: Delivery): string | null {
    const { max_message_bytes: most, max_message_depth: maxDepth } = this.#parts.config.lovage;
    if (message.refused !== undefined || message.body.byteLength > most) return null;
    return mognetRequestIdIn(message.body, { maxDepth });
  }

  async #invalidate(id: string, reason: string): Promise<void> {
    const { store } = this.#parts;
    const result = await store.get(id);
    if (result === null || isDoneResult(result)) return;
    const name = "mognet.exceptions.task_exceptions:InvalidTaskArguments";
    const time = mognetTimestamp(Date.now());
    await store.put({
      result: finishedResult(result, "INVALID", time),
      value: mognetErrorValue({ name, message: reason, args: [[reason]] }),
      condition: { states: ["PENDING"], starts: result.numberOfStarts, exists: true },
    });
  }
}
