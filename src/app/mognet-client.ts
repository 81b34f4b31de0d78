/** The connected half of a Mognet app: made when first used, and closed with the app. */
import { Control } from "../client/mognet/control.ts";
import type { ResultStore, Results } from "../client/mognet/results.ts";
import { Submitter } from "../client/mognet/submitter.ts";
import type { BrokerState } from "../client/outage-watch.ts";
import { Publisher } from "../client/publisher.ts";
import type { MognetStore } from "../result-backends/mognet/mognet-store.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { patienceS } from "../settings/mognet-config.ts";
import type { MognetQueues } from "../settings/mognet-queues.ts";
import type { MognetMiddleware } from "../tasks/mognet-middleware.ts";
import type { Transport } from "../transports/transport.ts";
import { type MognetParts, makeMognetStore, makeMognetTransport } from "./mognet-parts.ts";

export interface MognetClient {
  readonly store: MognetStore;
  readonly transport: Transport;
  readonly publisher: Publisher;
  readonly control: Control;
  readonly results: Results;
  readonly submitter: Submitter;
  close(): Promise<void>;
}

export interface MognetClientParts extends MognetParts {
  readonly queues: MognetQueues;
  readonly middleware: readonly MognetMiddleware[];
  /** Results that the app knows how to read. */
  resultsOf(store: ResultStore, revoke: Results["revoke"]): Results;
}

export function makeMognetClient(parts: MognetClientParts): MognetClient {
  const { app, config, log, queues, middleware } = parts;
  const { amqp } = config.broker;
  const broker: BrokerState = { url: amqp.url.split(";").map(maskUrl).join(" or "), lastError: null };
  const events = {
    onConnected: () => {
      broker.lastError = null;
    },
    onLost: (error: Error) => {
      broker.lastError = error;
    },
    onRetry: (error: Error) => {
      broker.lastError = error;
    },
  };
  const store = makeMognetStore({ app, config, log });
  const transport = makeMognetTransport({ app, config, log, events });
  const publisher = new Publisher({
    transport,
    log,
    broker,
    settings: {
      // The transport itself tries to connect; these say how long a submit waits for it, in two halves.
      broker_connection_timeout: patienceS(amqp) / 2,
      task_publish_retry: true,
      task_publish_retry_policy: { maxRetries: 1, intervalStart: 0, intervalStep: 0, intervalMax: 0 },
      task_compression: null,
      lovage_declare: "create",
    },
  });
  const control = new Control({ transport, publisher, store, queues, nodeId: config.node_id, log });
  const results = parts.resultsOf(store, (id, { force = false }) => control.revoke(id, force));
  const submitter = new Submitter({
    publisher,
    store,
    queues,
    results,
    log,
    middleware,
    persistent: config.lovage.persistent_messages,
    patienceMs: patienceS(config.result_backend.redis) * 1000,
  });
  return {
    ...{ store, transport, publisher, control, results, submitter },
    async close() {
      publisher.close();
      await transport.close();
      await store.close();
      submitter.close();
    },
  };
}
