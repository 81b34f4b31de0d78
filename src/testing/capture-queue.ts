/** Takes everything that arrives in a queue and keeps it for the test to look at. */
import type { Message } from "../../protocol/message.ts";
import type { Consumer, DeliveryInfo, Transport } from "../transports/transport.ts";
import { type TestSignal, testSignal } from "./wait.ts";

/** A message as it came out of the queue. */
export interface Captured {
  readonly message: Message;
  readonly info: DeliveryInfo;
  /** The body as text. */
  readonly text: string;
}

/** Takes what comes to a queue. Disposal ends that. */
export interface QueueCapture extends AsyncDisposable {
  /** All messages so far. */
  readonly messages: readonly Captured[];
  /** The next message not yet taken. `timeout` in milliseconds. @default 30_000 */
  next(timeout?: number): Promise<Captured>;
  take(count: number, timeout?: number): Promise<Captured[]>;
}

/** Consumes `queue` over a connected transport. Messages are settled on arrival; disposal ends the consumer. */
export async function captureQueue(transport: Transport, queue: string): Promise<QueueCapture> {
  const arrived: TestSignal<Captured> = testSignal(`a message in queue ${queue}`);
  const decoder = new TextDecoder();
  const consumer: Consumer = await transport.consume([queue], { prefetch: 0 }, (delivery) => {
    const { message, info } = delivery;
    delivery.ack();
    arrived.emit({ message, info, text: decoder.decode(message.body) });
  });
  return {
    messages: arrived.all,
    next: arrived.next,
    take: arrived.take,
    async [Symbol.asyncDispose]() {
      await consumer.cancel();
    },
  };
}
