/** What a test can ask of a Celery app in a Python process. The other end is `python-fixtures/client.py`. */

/** Sends one request to the Python process and resolves with its answer. */
export type PythonRequest = (op: string, app: number, fields: object, timeout: number) => Promise<unknown>;

/** An exception as Python sees it. */
export interface PythonException {
  type: string;
  module: string;
  /** Names of its base classes, nearest first. */
  bases: string[];
  message: string;
  repr: string;
  args: unknown[];
  traceback: string;
}

/** A value as Python sees it. */
export interface PythonValue {
  /** As JSON, with Kombu's tags for what JSON lacks; `null` also where JSON has no form at all. */
  value: unknown;
  /** Kombu's exact text. */
  json: string | null;
  repr: string;
  /** Name of its class. */
  type: string;
}

/** What Python's `get()` gave or raised, and the state that it saw. */
export type PythonResult = { state: string | null } & (
  | (PythonValue & { raised?: undefined })
  | { raised: PythonException }
);

/** A result as Python sees it, without waiting. */
export interface PythonState {
  state: string;
  /** The exception when `raised`, else the value. */
  info: PythonValue | PythonException;
  raised: boolean;
  traceback: string | null;
  date_done: unknown;
  name: string | null;
  args: unknown;
  kwargs: unknown;
  worker: string | null;
  retries: number | null;
  queue: string | null;
  children: unknown[];
  /** Keys of the stored record. */
  meta_keys: string[];
}

/** A task or a canvas: Python builds the signature from it. A signature as it travels is taken as it is. */
export type PythonSignature = (
  | { task: string; args?: readonly unknown[]; kwargs?: object }
  | { chain: readonly PythonSignature[] }
  | { group: readonly PythonSignature[] }
  | { chord: readonly PythonSignature[]; body: PythonSignature }
) & {
  options?: object;
  immutable?: boolean;
  link?: readonly PythonSignature[];
  link_error?: readonly PythonSignature[];
};

/** `result.as_tuple()`: nested ids of a result and its parents. */
export type PythonResultTuple = unknown;

/** A message that Kombu publishes as it is. */
export interface RawPublish {
  exchange?: string;
  routing_key: string;
  /** Text, or bytes in `body_base64`. */
  body?: string;
  body_base64?: string;
  content_type?: string;
  content_encoding?: string;
  headers?: object | null;
  properties?: object;
  priority?: number;
}

/** A message as Kombu took it off a queue. */
export interface RawMessage {
  body: string;
  body_base64: string;
  content_type: string | null;
  content_encoding: string | null;
  headers: Record<string, unknown> | null;
  properties: Record<string, unknown>;
  delivery_info: Record<string, unknown>;
}

const requestMs = 30_000;

/** One Celery app of the Python process. Options travel to Python as they are: Celery's names and units. */
export class PythonCelery {
  readonly #app: number;
  readonly #request: PythonRequest;

  constructor(app: number, request: PythonRequest) {
    this.#app = app;
    this.#request = request;
  }

  async #ask<T>(op: string, fields: object = {}, timeout = requestMs): Promise<T> {
    return (await this.#request(op, this.#app, fields, timeout)) as T;
  }

  versions(): Promise<{ python: string; celery: string; kombu: string; pid: number }> {
    return this.#ask("versions");
  }

  /** Settings as the app sees them. */
  conf(names: readonly string[]): Promise<Record<string, unknown>> {
    return this.#ask("conf", { names });
  }

  /** `app.send_task`. Resolves with the task id. `options` are those of `apply_async`; `link` and `link_error` take trees. */
  send(task: string, args: readonly unknown[] = [], kwargs: object = {}, options: object = {}): Promise<string> {
    return this.#ask("send", { task, args, kwargs, options });
  }

  /** Builds a canvas in Python and applies it there. */
  apply(tree: PythonSignature | object, options: object = {}): Promise<{ id: string; tuple: PythonResultTuple }> {
    return this.#ask("apply", { tree, options });
  }

  /** The signature as Python writes it on the wire. */
  signature(tree: PythonSignature | object): Promise<Record<string, unknown>> {
    return this.#ask("signature", { tree });
  }

  /** `result.get()`: never rejects because the task failed; `raised` tells. `timeout` in milliseconds. @default 30_000 */
  get(result: string | { tuple: PythonResultTuple }, options: { timeout?: number } = {}): Promise<PythonResult> {
    const { timeout = 30_000 } = options;
    const which = typeof result === "string" ? { task_id: result } : { tuple: result.tuple };
    return this.#ask("get", { ...which, timeout: timeout / 1000 }, timeout + 10_000);
  }

  /** What can be read about a task without waiting. */
  state(taskId: string): Promise<PythonState> {
    return this.#ask("state", { task_id: taskId });
  }

  /** The stored record as text, `null` when nothing is stored. Key-value backends only. */
  rawMeta(taskId: string): Promise<string | null> {
    return this.#ask("raw_meta", { task_id: taskId });
  }

  forget(taskId: string): Promise<void> {
    return this.#ask("forget", { task_id: taskId });
  }

  /** `app.control.revoke`. */
  revoke(taskId: string | readonly string[], options: object = {}): Promise<void> {
    return this.#ask("revoke", { task_id: taskId, options });
  }

  /** `app.control.broadcast`: one `{node: reply}` for each worker that answered in time. `timeout` in milliseconds. @default 1_000 */
  broadcast(
    command: string,
    options: {
      arguments?: object;
      destination?: readonly string[];
      timeout?: number;
      reply?: boolean;
      options?: object;
    } = {},
  ): Promise<Record<string, unknown>[] | null> {
    const { timeout = 1_000, ...fields } = options;
    return this.#ask("broadcast", { command, timeout: timeout / 1000, ...fields }, timeout + 10_000);
  }

  purge(queue: string): Promise<number> {
    return this.#ask("purge", { queue });
  }

  /** Ready messages and consumers; `null` when there is no such queue. */
  queue(queue: string): Promise<{ messages: number; consumers: number } | null> {
    return this.#ask("queue", { queue });
  }

  /** Declares a queue with its exchange: a name, or the arguments of `kombu.Queue`. */
  declare(queue: string | object): Promise<void> {
    return this.#ask("declare", { queue });
  }

  /** Publishes below Kombu's serialization: bytes, headers and properties as given, however hostile. */
  publish(message: RawPublish): Promise<void> {
    return this.#ask("publish", message);
  }

  /** Takes one message as Python sees it; `null` when the queue is empty. With `ack: false` it goes back. */
  basicGet(queue: string, options: { ack?: boolean } = {}): Promise<RawMessage | null> {
    return this.#ask("basic_get", { queue, ...options });
  }

  /** Begins to collect the fleet's events; resolves when subscribed. */
  startEvents(): Promise<void> {
    return this.#ask("events_start");
  }

  /** The events collected so far. */
  events(): Promise<Record<string, unknown>[]> {
    return this.#ask("events");
  }

  stopEvents(): Promise<Record<string, unknown>[]> {
    return this.#ask("events_stop");
  }

  /** Runs Python text with `app`, `celery` and `kombu` at hand; resolves with what it leaves in `answer`. */
  run(source: string, variables: object = {}, options: { timeout?: number } = {}): Promise<unknown> {
    return this.#ask("run", { source, variables }, options.timeout ?? requestMs);
  }
}
