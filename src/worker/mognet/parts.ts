/** What a Mognet worker is made of. The app hands it over; the worker knows neither app nor client. */
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { MognetStore } from "../../result-backends/mognet/mognet-store.ts";
import type { Log } from "../../runtime/log.ts";
import type { MognetConfig } from "../../settings/mognet-config.ts";
import type { MognetQueues } from "../../settings/mognet-queues.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import type { MognetContext, MognetSubmitted } from "../../tasks/mognet-context.ts";
import type { MognetMiddleware } from "../../tasks/mognet-middleware.ts";
import type { Request, RequestOptions } from "../../tasks/mognet-request.ts";
import type { Transport } from "../../transports/transport.ts";
import type { Slots } from "../slots.ts";
import type { MognetPool } from "./pool/mognet-pool.ts";
import type { Services } from "./services.ts";

/** How running tasks submit others. */
export interface MognetOutbox {
  /** A request of a typed call. Throws `TaskValidationError`, `TaskArgumentError`, `ImproperlyConfigured`. */
  createRequest(
    task: { readonly name: string } | string,
    args: unknown,
    options: RequestOptions,
  ): Request | Promise<Request>;
  submit(request: Request, parent: MognetContext): Promise<MognetSubmitted>;
  /** A handle on what was submitted before. */
  result(id: string): MognetSubmitted;
  /** Revokes a request and what it has submitted. */
  revoke(id: string, force: boolean): Promise<unknown>;
}

/** The app's own hooks, each once in a life, whoever ends first: the worker or the app. */
export interface AppHooks {
  starting(): Promise<void>;
  started(): Promise<void>;
  stopping(): Promise<void>;
  stopped(): Promise<void>;
}

export interface MognetWorkerParts {
  /** For hooks and `ctx.app`. */
  readonly app: unknown;
  readonly config: MognetConfig;
  /** Name of this worker among the app's nodes. */
  readonly nodeId: string;
  readonly transport: Transport;
  readonly store: MognetStore;
  readonly queues: MognetQueues;
  /** Names of the queues to consume, without the app's prefix. */
  readonly consumed: readonly string[];
  readonly task: (name: string) => AnyTask | null;
  readonly outbox: MognetOutbox;
  readonly middleware: readonly MognetMiddleware[];
  readonly hooks: AppHooks;
  /** What `onTaskCompleted` gets. */
  readonly resultOf: (record: MognetResult) => unknown;
  readonly services: Services;
  /** Threads or processes that bodies run in; null: they run on the event loop. */
  readonly pool: MognetPool | null;
  readonly slots: Slots;
  /** Requests in hand besides those that wait for children. */
  readonly concurrency: number;
  /** Called once, when `max_tasks` have begun and none of them runs any more. */
  readonly onEnough: () => void;
  readonly log: Log;
}
