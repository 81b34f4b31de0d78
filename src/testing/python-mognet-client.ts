/** A real Mognet client as a peer: one long-lived Python process. The other end is `python-fixtures/mognet_client.py`. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { DrivenProcess } from "./driven-process.ts";
import { fixturesFolder } from "./fixture-files.ts";
import type { PeerProcess } from "./peer-process.ts";
import type { PythonException } from "./python-celery.ts";
import { fixtureApp, mognetEnvironment, mognetPython, type PythonMognetOptions } from "./python-mognet-worker.ts";

/** The fields of Mognet's `Request`, besides the name and the arguments. */
export interface PythonMognetRequest {
  id?: string;
  metadata?: Readonly<Record<string, unknown>>;
  /** Seconds, an ISO 8601 duration, or an ISO 8601 instant. */
  deadline?: string | number;
  queue_name?: string;
  kwargs_repr?: string;
  /** 0 to 10. */
  priority?: number;
}

/** A value as Python holds it. */
export interface PythonMognetValue {
  /** As JSON; `null` also where JSON has no form. */
  value: unknown;
  repr: string;
  /** Its class as Mognet names classes: `builtins:int`. */
  type: string;
}

/** What awaiting a result gave or raised in Python, and the state that it saw. */
export type PythonMognetOutcome = { state: string } & (
  | (PythonMognetValue & { raised?: undefined })
  /** `late`: the wait ended first. */
  | { raised: PythonException; late?: true }
);

/** A result as Python reads it: Mognet's own names. */
export interface PythonMognetFields {
  id: string;
  name: string | null;
  state: string;
  number_of_starts: number;
  number_of_stops: number;
  parent_id: string | null;
  created: string | null;
  started: string | null;
  finished: string | null;
  node_id: string | null;
  request_kwargs_repr: string | null;
  done: boolean;
  unexpected_retry_count: number;
}

/** A result as Python reads it, with its children and metadata. */
export interface PythonMognetResult extends PythonMognetFields {
  /** Ids, sorted. */
  children: string[];
  metadata: Record<string, unknown>;
}

/** A tree of results as Python reads it. */
export interface PythonMognetTree {
  result: PythonMognetFields;
  children: PythonMognetTree[];
}

/** A node's answer to a status query, as Python got it. */
export interface PythonMognetStatus {
  id: string;
  kind: string;
  node_id: string;
  payload: { running_request_ids: string[] };
}

const requestMs = 30_000;

/** A Mognet app in a Python process of its own, steered from here. */
export class PythonMognetClient implements AsyncDisposable {
  readonly process: PeerProcess;
  readonly #driven: DrivenProcess;

  static async start(options: PythonMognetOptions = {}): Promise<PythonMognetClient> {
    const cwd = options.cwd ?? fixturesFolder();
    const node = options.node ?? `py-client-${randomUUID().slice(0, 8)}`;
    const driven = await DrivenProcess.start(mognetPython(options), {
      name: node,
      args: [join(fixturesFolder(), "mognet_client.py"), options.app ?? fixtureApp],
      cwd,
      env: mognetEnvironment({ ...options, node }, cwd),
      timeout: options.timeout ?? 60_000,
    });
    return new PythonMognetClient(driven);
  }

  private constructor(driven: DrivenProcess) {
    this.process = driven.process;
    this.#driven = driven;
  }

  async #ask<T>(op: string, fields: object = {}, timeout = requestMs): Promise<T> {
    return (await this.#driven.request(op, fields, timeout)) as T;
  }

  versions(): Promise<{ python: string; app: string; node: string; pid: number }> {
    return this.#ask("versions");
  }

  /** `app.submit`. Resolves with the request's id. */
  submit(
    name: string,
    args: readonly unknown[] = [],
    kwargs: object = {},
    request: PythonMognetRequest = {},
  ): Promise<string> {
    return this.#ask("submit", { request: { ...request, name, args, kwargs } });
  }

  /** Awaits the result: never rejects because the task failed; `raised` tells. `timeout` in milliseconds. @default 30_000 */
  get(id: string, options: { timeout?: number } = {}): Promise<PythonMognetOutcome> {
    const { timeout = 30_000 } = options;
    return this.#ask("get", { result_id: id, timeout: timeout / 1000 }, timeout + 10_000);
  }

  /** What can be read without waiting; `null` when there is no result. */
  result(id: string): Promise<PythonMognetResult | null> {
    return this.#ask("result", { result_id: id });
  }

  /** The stored value document. */
  value(id: string): Promise<{ value_type: string; raw_value: unknown }> {
    return this.#ask("value", { result_id: id });
  }

  tree(id: string, options: { maxDepth?: number; maxWidth?: number } = {}): Promise<PythonMognetTree> {
    const { maxDepth = 3, maxWidth = 500 } = options;
    return this.#ask("tree", { result_id: id, max_depth: maxDepth, max_width: maxWidth });
  }

  /** `app.revoke`. Resolves with the result as it was left. */
  revoke(id: string, options: { force?: boolean } = {}): Promise<PythonMognetFields> {
    return this.#ask("revoke", { result_id: id, force: options.force ?? false });
  }

  setMetadata(id: string, values: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#ask("set_metadata", { result_id: id, values });
  }

  /** `result.delete`. `includeChildren` @default true */
  delete(id: string, options: { includeChildren?: boolean } = {}): Promise<void> {
    return this.#ask("delete", { result_id: id, include_children: options.includeChildren ?? true });
  }

  /** `broker.task_queue_stats`. A queue that is not there rejects with `PythonRaised`. */
  queue(queue: string): Promise<{ messages: number; consumers: number }> {
    return this.#ask("queue", { queue });
  }

  /** `app.purge_task_queues`: how many messages each queue lost. */
  purge(): Promise<Record<string, number>> {
    return this.#ask("purge");
  }

  /** Asks all workers what they run. Ends after `nodes` replies, else after `timeout` milliseconds. @default 2_000 */
  status(options: { nodes?: number; timeout?: number } = {}): Promise<PythonMognetStatus[]> {
    const { nodes = 0, timeout = 2_000 } = options;
    return this.#ask("status", { nodes, timeout: timeout / 1000 }, timeout + 10_000);
  }

  /** Runs Python text, which may await, with `app` and `variables`; resolves with what it leaves in `answer`, as JSON. */
  run(source: string, variables: object = {}, options: { timeout?: number } = {}): Promise<unknown> {
    return this.#ask("run", { source, variables }, options.timeout ?? requestMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#driven[Symbol.asyncDispose]();
  }
}

/** Starts a Python process with a connected Mognet app and resolves when it answers. */
export function startPythonMognetClient(options: PythonMognetOptions = {}): Promise<PythonMognetClient> {
  return PythonMognetClient.start(options);
}
