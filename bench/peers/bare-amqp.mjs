/** amqplib alone: consume with a prefetch, an ack a message (batched: one a tick); publish on a confirm channel. */
import amqp from "amqplib";
import { bodyOf, headersOf } from "./bare-message.mjs";

export async function amqpBroker(job) {
  const connection = await amqp.connect(job.broker);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(job.queue, { durable: true });
  return {
    close: () => connection.close(),
    async work(run) {
      await channel.prefetch(job.concurrency * job.prefetchMultiplier);
      let newest = null;
      const ackAll = () => {
        channel.ack(newest, true);
        newest = null;
      };
      await channel.consume(job.queue, (message) => {
        const { task, id } = message.properties.headers;
        const [args] = JSON.parse(message.content.toString());
        if (!job.batched) channel.ack(message);
        else if (newest === null) setImmediate(ackAll);
        if (job.batched) newest = message;
        run(task, id, args);
      });
    },
    publish(id) {
      return new Promise((resolve, reject) => {
        channel.sendToQueue(
          job.queue,
          Buffer.from(bodyOf(job)),
          {
            contentType: "application/json",
            contentEncoding: "utf-8",
            deliveryMode: 2,
            priority: 0,
            correlationId: id,
            headers: headersOf(id, job),
          },
          (error) => (error ? reject(error) : resolve()),
        );
      });
    },
  };
}
