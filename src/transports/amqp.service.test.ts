/** The AMQP transport against RabbitMQ. */
import { describe } from "vitest";
import { haveRabbit, makeVhost, Proxy } from "./amqp.test-kit.ts";
import { createAmqpTransport } from "./amqp.ts";
import { testTransport } from "./transport.contract.ts";
import type { Transport } from "./transport.ts";

describe.runIf(haveRabbit())("RabbitMQ", () => {
  testTransport({
    name: "amqp",
    async make() {
      const vhost = await makeVhost();
      const proxy = await Proxy.before(vhost.url);
      const made: Transport[] = [];
      const backoff = { initialMs: 10, maxMs: 200 };
      const add = (url: string) => {
        const transport = createAmqpTransport({ urls: [url], backoff });
        made.push(transport);
        return transport;
      };
      return {
        transport: add(proxy.url),
        another: async () => add(vhost.url),
        async cutConnection() {
          proxy.cut();
        },
        async dispose() {
          for (const transport of made) await transport.close();
          await proxy.close();
          await vhost.remove();
        },
      };
    },
    can: { clash: true, knowsMissingQueues: true, order: true, redeliversAfterLoss: true, fanout: true, topic: true },
  });
});
