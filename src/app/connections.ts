/** The connections of a Celery app: made when first needed, and what errors say of the one that it publishes on. */
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { BrokerState } from "../client/outage-watch.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { maskUrl } from "../runtime/credentials.ts";
import type { Settings } from "../settings/settings.ts";
import { pickBroker } from "../settings/urls.ts";
import type { Transport, TransportEvents } from "../transports/transport.ts";
import { makeBackend, makeTransport, type PartsContext } from "./parts.ts";

export class Connections {
  readonly #context: PartsContext;
  #transport: Transport | null = null;
  #backend: ResultBackend<ResultMeta> | null | undefined;
  /** Who else wants to know of the publishing connection: the rpc result backend. */
  #watching: TransportEvents = {};
  /** The publishing connection, for errors. */
  readonly broker: BrokerState;

  constructor(context: PartsContext) {
    this.#context = context;
    this.broker = brokerState(context.settings);
  }

  /** The one that tasks are published on. */
  get transport(): Transport {
    this.#transport ??= makeTransport(this.#context, {
      purpose: "write",
      events: {
        onConnected: (url) => {
          this.broker.lastError = null;
          this.#say("publishing", url);
          this.#watching.onConnected?.(url);
        },
        onLost: (error) => {
          this.broker.lastError = error;
          this.#watching.onLost?.(error);
        },
        onRetry: (error) => {
          this.broker.lastError = error;
        },
      },
    });
    return this.#transport;
  }

  /** Where results are stored; null when nowhere. */
  get backend(): ResultBackend<ResultMeta> | null {
    if (this.#backend === undefined) {
      this.#backend = makeBackend(this.#context, () => ({
        transport: this.transport,
        watch: (events) => {
          this.#watching = events;
        },
      }));
    }
    return this.#backend;
  }

  /** One more, for a consumer; the caller closes it. */
  consumer(events: TransportEvents): Transport {
    return makeTransport(this.#context, {
      purpose: "read",
      events: {
        ...events,
        onConnected: (url) => {
          this.#say("consuming", url);
          events.onConnected?.(url);
        },
      },
    });
  }

  async close(): Promise<void> {
    await this.#backend?.close();
    await this.#transport?.close();
  }

  /** Losses and attempts are in the transport's own log. */
  #say(what: string, url: string): void {
    this.#context.log.debug({ url }, `connected for ${what}`);
  }
}

/** Which URLs there are is asked when they are needed: an app may be there only to name its tasks. */
function brokerState(settings: Settings): BrokerState {
  return {
    get url() {
      const { urls } = pickBroker(settings, { purpose: "write" });
      return urls.length === 0 ? "the broker" : urls.map(maskUrl).join(" or ");
    },
    lastError: null,
  };
}
