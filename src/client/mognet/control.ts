/**
 * What an app tells all its workers, and asks of them: revokes and queries over the control exchange.
 * wire: mognet/app/app.py `revoke`, `get_current_status_of_nodes`; mognet/broker/amqp_broker.py `send_query_message`.
 */
import {
  decodeMognetStatusResponse,
  encodeMognetRevoke,
  encodeMognetStatusQuery,
  type MognetNodeStatus,
} from "../../../protocol/mognet/control.ts";
import { mognetExceptionValue } from "../../../protocol/mognet/exception.ts";
import { decodeMognetEnvelope } from "../../../protocol/mognet/message.ts";
import { finishedResult } from "../../../protocol/mognet/result.ts";
import { mognetTimestamp } from "../../../protocol/mognet/times.ts";
import type { MognetStore } from "../../result-backends/mognet/mognet-store.ts";
import { newId } from "../../runtime/ids.ts";
import type { Log } from "../../runtime/log.ts";
import { LONGEST_TIMER_MS } from "../../runtime/timer-heap.ts";
import type { MognetQueues } from "../../settings/mognet-queues.ts";
import { messageOf } from "../../tasks/mognet-publication.ts";
import type { Delivery, Transport } from "../../transports/transport.ts";
import type { Publisher } from "../publisher.ts";
import { batches } from "./result-children.ts";

export interface ControlParts {
  readonly transport: Transport;
  readonly publisher: Publisher;
  readonly store: MognetStore;
  readonly queues: MognetQueues;
  readonly nodeId: string;
  readonly log: Log;
}

/** How long the answers of nodes are waited for. */
export interface StatusOptions {
  /** Milliseconds to wait for answers; nobody knows how many nodes there are. @default 5000 */
  timeout?: number;
  /** Enough when so many have answered. */
  nodes?: number;
  /** Ends the wait: what has come is given. */
  signal?: AbortSignal;
}

/** Children that are revoked at a time. */
const AT_ONCE = 50;
/** Replies that may wait to be looked at. */
const MOST_WAITING = 10_000;

export class Control {
  readonly #parts: ControlParts;
  #declared: Promise<void> | null = null;

  constructor(parts: ControlParts) {
    this.#parts = parts;
  }

  /**
   * Writes REVOKED, then tells the workers, then the same for all children. A result that is done stays as it is, and its children
   * too, unless `force`.
   */
  async revoke(id: string, force: boolean, seen: Set<string> = new Set()): Promise<void> {
    if (seen.has(id)) return;
    seen.add(id);
    const { store, publisher, queues, log } = this.#parts;
    const { revoked, result } = await store.revoke(id, { finished: mognetTimestamp(Date.now()), force });
    if (!revoked) {
      log.debug({ id, state: result.state }, "a result that is done is not revoked");
      return;
    }
    await this.#declareExchange();
    await publisher.publish(
      messageOf(encodeMognetRevoke(id, newId())),
      { address: { exchange: queues.control.name, routingKey: "" }, queue: null },
      { mandatory: false },
    );
    for await (const children of batches(store.childIds(id), AT_ONCE)) {
      await Promise.all(children.map((child) => this.revoke(child, force, seen)));
    }
  }

  /** Revokes what nobody has begun; its message is dropped by whoever gets it. */
  async expire(id: string): Promise<void> {
    const { store } = this.#parts;
    const record = await store.get(id);
    if (record?.state !== "PENDING") return;
    const expired = { name: "builtins:TimeoutError", message: "", traceback: "", rawData: null, rawDataEncoding: null };
    await store.put({
      result: finishedResult(record, "REVOKED", mognetTimestamp(Date.now())),
      value: mognetExceptionValue(expired),
      condition: { states: ["PENDING"], starts: record.numberOfStarts, exists: true },
    });
  }

  /** Answers as they come, until the time is over. */
  async *statuses({
    timeout = 5_000,
    nodes,
    signal,
  }: StatusOptions = {}): AsyncGenerator<MognetNodeStatus, void, undefined> {
    const { transport, publisher, queues, nodeId, log } = this.#parts;
    await this.#declareExchange();
    // Two that ask under one node id would take each other's answers.
    const queue = queues.callbackOf(`${nodeId}.${newId()}`);
    await transport.declare([queue]);
    const waiting: MognetNodeStatus[] = [];
    let wake: () => void = () => undefined;
    const onDelivery = (delivery: Delivery) => {
      const status = this.#read(delivery);
      if (status === null) return;
      if (waiting.length < MOST_WAITING) waiting.push(status);
      wake();
    };
    const consumer = await transport.consume([queue.name], { prefetch: 100 }, onDelivery);
    let over = false;
    const end = () => {
      over = true;
      wake();
    };
    const timer = setTimeout(end, Math.min(timeout, LONGEST_TIMER_MS));
    signal?.addEventListener("abort", end, { once: true });
    if (signal?.aborted) end();
    try {
      await publisher.publish(
        messageOf(encodeMognetStatusQuery(newId(), queue.name)),
        { address: { exchange: queues.control.name, routingKey: "" }, queue: null },
        { mandatory: false },
      );
      let answered = 0;
      while (answered !== nodes) {
        const status = waiting.shift();
        if (status !== undefined) {
          answered++;
          yield status;
        } else if (over) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      try {
        await consumer.cancel();
        await transport.deleteQueue(queue.name);
      } catch (err) {
        log.debug({ queue: queue.name, err }, "a reply queue is left to expire");
      }
    }
  }

  #read(delivery: Delivery): MognetNodeStatus | null {
    try {
      if (delivery.message.refused !== undefined) return null;
      return decodeMognetStatusResponse(decodeMognetEnvelope(delivery.message.body));
    } catch (err) {
      this.#parts.log.warn({ err }, "an answer to a status query that cannot be read");
      return null;
    } finally {
      delivery.ack();
    }
  }

  /** A fleet without a worker has no control exchange, and publishing to what is not there ends a channel. */
  #declareExchange(): Promise<void> {
    const { publisher, transport, queues } = this.#parts;
    this.#declared ??= publisher
      .prepare(() => transport.declare([], [queues.control]))
      .catch((error: unknown) => {
        this.#declared = null;
        throw error;
      });
    return this.#declared;
  }
}
