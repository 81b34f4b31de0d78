/**
 * What a worker hears over the control exchange: revokes and questions. Mognet handles one message at a time, and a task that resists
 * its cancelling holds up all others; here none waits for another. wire: mognet 2; mognet/app/app.py `_process_control_message`.
 */
import {
  decodeMognetControl,
  encodeMognetStatusResponse,
  type MognetControl,
} from "../../../protocol/mognet/control.ts";
import { decodeMognetEnvelope } from "../../../protocol/mognet/message.ts";
import { newId } from "../../runtime/ids.ts";
import type { Log } from "../../runtime/log.ts";
import { messageOf } from "../../tasks/mognet-publication.ts";
import type { Consumer, Delivery, Transport } from "../../transports/transport.ts";

export interface ControlHost {
  readonly nodeId: string;
  /** Name of the exchange that replies go over. */
  readonly replyExchange: string;
  readonly maxBytes: number;
  readonly log: Log;
  revoke(id: string): void;
  /** Ids of all requests in hand. */
  held(): readonly string[];
}

/** wire: mognet 1.6. */
const PREFETCH = 4;

export class ControlConsumer {
  readonly #transport: Transport;
  readonly #host: ControlHost;
  #consumer: Consumer | null = null;

  constructor(transport: Transport, host: ControlHost) {
    this.#transport = transport;
    this.#host = host;
  }

  async start(queue: string): Promise<void> {
    this.#consumer = await this.#transport.consume([queue], { prefetch: PREFETCH }, (delivery) => this.#take(delivery));
  }

  async stop(): Promise<void> {
    await this.#consumer?.cancel();
  }

  #take(delivery: Delivery): void {
    try {
      const control = this.#read(delivery);
      if (control?.kind === "Revoke") this.#host.revoke(control.id);
      else if (control?.kind === "Query") this.#answer(control.name, delivery.message.properties.replyTo);
    } finally {
      delivery.ack();
    }
  }

  #read(delivery: Delivery): MognetControl | null {
    const { message } = delivery;
    const { log, maxBytes } = this.#host;
    try {
      if (message.refused !== undefined || message.body.byteLength > maxBytes) {
        log.warn({ reason: message.refused ?? "too large" }, "a control message that cannot be read is dropped");
        return null;
      }
      return decodeMognetControl(decodeMognetEnvelope(message.body));
    } catch (error) {
      log.warn({ err: error }, "a control message that is none is dropped");
      return null;
    }
  }

  #answer(name: string, replyTo: string | undefined): void {
    const { log, nodeId, replyExchange } = this.#host;
    if (name !== "Status") return log.warn({ name }, "a query that is not known is dropped");
    if (replyTo === undefined || replyTo === "")
      return log.warn({ name }, "a query that says nowhere to reply is dropped");
    const status = { id: newId(), nodeId, runningRequestIds: this.#host.held() };
    this.#transport
      .publish(
        messageOf(encodeMognetStatusResponse(status)),
        { exchange: replyExchange, routingKey: replyTo },
        { mandatory: false },
      )
      .catch((error: unknown) => log.warn({ err: error, replyTo }, "a query was not answered"));
  }
}
