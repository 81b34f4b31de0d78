/**
 * Submits requests: the result is written before the message is sent, so that whoever gets it finds it; a request that no queue took
 * fails for the caller and in the store, where Mognet leaves it PENDING for ever. wire: mognet/app/app.py `submit`.
 */
import { LovageError } from "../../../protocol/errors.ts";
import { mognetExceptionValue } from "../../../protocol/mognet/exception.ts";
import { mognetKwargsRepr } from "../../../protocol/mognet/kwargs-repr.ts";
import { encodeMognetRequest, type MognetPublication } from "../../../protocol/mognet/message.ts";
import { finishedResult, type MognetResult, newMognetResult } from "../../../protocol/mognet/result.ts";
import { mognetTimestamp } from "../../../protocol/mognet/times.ts";
import { BackendStoreError } from "../../result-backends/errors.ts";
import type { MognetStore } from "../../result-backends/mognet/mognet-store.ts";
import type { Log } from "../../runtime/log.ts";
import type { MognetQueues } from "../../settings/mognet-queues.ts";
import { CouldNotSubmit } from "../../tasks/mognet-errors.ts";
import { callMiddleware, hasHook, type MognetMiddleware } from "../../tasks/mognet-middleware.ts";
import { messageOf } from "../../tasks/mognet-publication.ts";
import type { Request } from "../../tasks/mognet-request.ts";
import { PublishError } from "../../transports/errors.ts";
import type { Publisher } from "../publisher.ts";
import { Patience } from "./patience.ts";
import { Result } from "./result.ts";
import type { Results } from "./results.ts";

export interface SubmitterParts {
  readonly publisher: Publisher;
  readonly store: MognetStore;
  readonly queues: MognetQueues;
  readonly results: Results;
  readonly log: Log;
  readonly middleware: readonly MognetMiddleware[];
  /** Whether requests outlive a restart of the broker. @default false */
  readonly persistent?: boolean;
  /** How long a store that is away is borne. */
  readonly patienceMs: number;
  /** Unix milliseconds. @default Date.now */
  readonly now?: () => number;
}

/** The task that submits: its id, its ancestors, and its context for hooks. */
export interface SubmittingTask {
  readonly id: string;
  readonly stack: readonly string[];
  readonly context?: unknown;
}

export class Submitter {
  readonly #parts: SubmitterParts;
  readonly #now: () => number;
  readonly #patience: Patience;
  #lastMs = 0;

  constructor(parts: SubmitterParts) {
    this.#parts = parts;
    this.#patience = new Patience(parts.patienceMs);
    this.#now = parts.now ?? Date.now;
  }

  /** Those of one millisecond are told apart by microseconds, so that the order of submits can be read back. */
  #timestamp(): string {
    const ms = this.#now();
    this.#lastMs = ms > this.#lastMs || ms < this.#lastMs - 1 ? ms : this.#lastMs + 0.001;
    return mognetTimestamp(this.#lastMs);
  }

  /** Resolves once the broker holds the request. Throws `CouldNotSubmit`, with the cause. */
  async submit<R>(request: Request<R>, parent: SubmittingTask | null = null): Promise<Result<R>> {
    const { store, results, middleware } = this.#parts;
    let written: MognetResult | null = null;
    try {
      request.kwargsRepr ??= mognetKwargsRepr(request.args, request.kwargs);
      const record = newMognetResult({
        id: request.id,
        name: request.name,
        created: this.#timestamp(),
        parentId: parent?.id ?? null,
        requestKwargsRepr: request.kwargsRepr,
      });
      if (parent !== null) request.stack = [...parent.stack, parent.id];
      const mayChange = hasHook(middleware, "onRequestSubmitting");
      // What has no form on the wire shall fail before anything is written.
      const publication = mayChange ? null : this.#encoded(request);
      const { metadata } = request;
      const creating = store.create(
        Object.keys(metadata).length === 0 ? { result: record } : { result: record, metadata },
      );
      await this.#patience.bear(creating, (ms) => this.#late(record, creating, ms));
      written = record;
      if (mayChange) {
        await callMiddleware(
          middleware,
          "onRequestSubmitting",
          [request, { context: parent?.context ?? null }],
          this.#parts.log,
        );
      }
      await this.#publish(request, publication ?? this.#encoded(request));
      return new Result<R>(record, results, request.returns);
    } catch (cause) {
      const error = this.#error(request, cause);
      if (written !== null) await this.#settle(written, error);
      throw error;
    }
  }

  close(): void {
    this.#patience.close();
  }

  /** Should the result be written after all, it shall not stay PENDING. */
  #late(record: MognetResult, creating: Promise<void>, ms: number): Error {
    const error = new BackendStoreError(record.id, `the result store did not answer within ${ms / 1000} s`, {
      retryable: true,
    });
    creating
      .then(() => this.#settle(record, new CouldNotSubmit(record.id, error.message)))
      .catch((err: unknown) =>
        this.#parts.log.debug({ id: record.id, err }, "the result of a request that was given up was not written"),
      );
    return error;
  }

  /** Publishes a request whose result is there already: whoever wrote it may have died before it did. */
  async sendAgain(request: Request): Promise<void> {
    request.kwargsRepr ??= mognetKwargsRepr(request.args, request.kwargs);
    try {
      await this.#publish(request, this.#encoded(request));
    } catch (cause) {
      throw this.#error(request, cause);
    }
  }

  #encoded(request: Request): MognetPublication {
    return encodeMognetRequest(request, { persistent: this.#parts.persistent === true });
  }

  #publish(request: Request, publication: MognetPublication): Promise<void> {
    const { queues, publisher } = this.#parts;
    const route = queues.routeOf(request);
    const queue = queues.task(route);
    const known = queues.isRouted(route);
    return publisher.publish(
      messageOf(publication),
      // A queue that no route names is nobody's to make here: a typo would fill it for ever.
      { address: { exchange: queues.direct.name, routingKey: queue.name }, queue: known ? queue : null, remake: known },
      { mandatory: true },
    );
  }

  #error(request: Request, cause: unknown): CouldNotSubmit {
    const what = `${request.name} ${request.id}`;
    if (cause instanceof PublishError && cause.code === "UNROUTABLE") {
      const { queues } = this.#parts;
      const words = `${what} was not submitted: there is no queue ${JSON.stringify(cause.routingKey)}, and no route of this app leads there`;
      return new CouldNotSubmit(request.id, `${words} (routes: ${queues.routed.join(", ")})`, { cause });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    return new CouldNotSubmit(request.id, `${what} was not submitted: ${why}`, {
      cause,
      retryable: cause instanceof LovageError && cause.retryable,
    });
  }

  /** Says FAILURE where PENDING would stay for ever; also, should the broker have the message after all, no worker runs it then. */
  async #settle(record: MognetResult, error: CouldNotSubmit): Promise<void> {
    const { store, log } = this.#parts;
    const name = "mognet.exceptions.base_exceptions:CouldNotSubmit";
    try {
      await store.put({
        result: finishedResult(record, "FAILURE", mognetTimestamp(this.#now())),
        value: mognetExceptionValue({
          name,
          message: error.message,
          traceback: "",
          rawData: null,
          rawDataEncoding: null,
        }),
        condition: { states: ["PENDING"], exists: true },
      });
    } catch (err) {
      log.error({ id: record.id, err }, "the result of a request that was not submitted stays PENDING");
    }
  }
}
