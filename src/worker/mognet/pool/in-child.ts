/** The inside of a child that runs Mognet tasks: one body at a time, with the `ctx` that it would have on the worker's event loop. */
import { decodePlainJson } from "../../../../protocol/mognet/json.ts";
import { encodeCompactJson } from "../../../../protocol/mognet/json-text.ts";
import { decodeMognetEnvelope } from "../../../../protocol/mognet/message.ts";
import { decodeMognetRequestPayload, type MognetRequest } from "../../../../protocol/mognet/request.ts";
import type { MognetResult } from "../../../../protocol/mognet/result.ts";
import { encodeMognetValue, mognetValueOf } from "../../../../protocol/mognet/value.ts";
import type { AnyTask } from "../../../tasks/definition.ts";
import { NotRegistered, RemoteTaskError } from "../../../tasks/errors.ts";
import type { MognetContext, MognetSubmitted } from "../../../tasks/mognet-context.ts";
import type { Request } from "../../../tasks/mognet-request.ts";
import { readableThrown } from "../../../tasks/python-errors.ts";
import { CallFailed, type CallLimits, CallLine } from "../../pools/call-line.ts";
import { ChildLog } from "../../pools/child-log.ts";
import { unpackReason } from "../../pools/freight.ts";
import type { InnerLife, WorkerLine } from "../../pools/inner-life.ts";
import type { MognetEnding, MognetInit, MognetJob, MognetMethod, ToChild } from "../../pools/messages.ts";
import { usedKib } from "../../pools/used-kib.ts";
import { checkCall } from "../arguments.ts";
import { type ContextRun, type MognetContextHost, RunningMognetContext } from "../context.ts";
import { execute, isIgnore, isPause } from "../execute.ts";
import { pythonErrorOf } from "../failures.ts";
import type { MognetOutbox } from "../parts.ts";
import type { Services } from "../services.ts";
import { type ChildStore, childStore } from "./child-store.ts";
import { unpackFault } from "./faults.ts";
import { isMognetReason, unpackReason as unpackMognetReason } from "./reasons.ts";

/** What the module of the tasks gives. */
export interface LoadedMognet {
  readonly app: unknown;
  readonly tasks: ReadonlyMap<string, AnyTask>;
  readonly services: Services;
  readonly createRequest: MognetOutbox["createRequest"];
  /** A handle on a request, as the app's own submits give. `returns` is what its value is checked against. */
  result(record: Pick<MognetResult, "id" | "name">, returns: AnyTask["returns"], at: ChildWorker): MognetSubmitted;
  close(): Promise<void>;
}

/** What handles ask of the worker. */
export interface ChildWorker {
  readonly store: ChildStore;
  revoke(id: string, force: boolean): Promise<void>;
}

interface Current {
  readonly job: number;
  readonly id: string;
  readonly context: RunningMognetContext;
}

export class InMognetChild implements InnerLife {
  readonly #line: WorkerLine;
  readonly #init: MognetInit;
  readonly #loaded: LoadedMognet;
  readonly #calls: CallLine;
  #current: Current | null = null;
  #leaving: (() => void) | null = null;
  #spoilt = false;

  constructor(line: WorkerLine, init: MognetInit, loaded: LoadedMognet) {
    this.#line = line;
    this.#init = init;
    this.#loaded = loaded;
    this.#calls = new CallLine((message) => line.post(message));
    const own = [...loaded.tasks.values()].filter((task) => task.handler !== null);
    line.post({ type: "ready", tasks: own.map((task) => task.name) });
  }

  gone(): Promise<void> {
    return new Promise((resolve) => {
      this.#leaving = resolve;
    });
  }

  outlives(id: string | undefined): boolean {
    const running = this.#current?.id;
    if (running === undefined || id === undefined || id === running) return false;
    this.#spoilt = true;
    return true;
  }

  onMessage(message: ToChild): void {
    switch (message.type) {
      case "request":
        this.#run(message)
          .then((ending) => this.#say(message.job, ending))
          .catch((error: unknown) => this.#say(message.job, threw(error)));
        return;
      case "abort": {
        const { reason, job } = message;
        if (this.#current?.job !== job) return;
        return this.#current.context.abort(isMognetReason(reason) ? unpackMognetReason(reason) : unpackReason(reason));
      }
      case "answer":
        return this.#calls.onAnswer(message.call, message.answer);
      case "note":
        return this.#calls.onNote(message.call, message.json);
      case "leave":
        this.#leaving?.();
        return;
    }
  }

  async #run(job: MognetJob): Promise<MognetEnding> {
    const { keepFloats, maxDepth, validate } = this.#init;
    const { payload } = decodeMognetEnvelope(job.body, { floats: keepFloats ? "keep" : "number", maxDepth });
    const request = decodeMognetRequestPayload(payload, () => job.id);
    const task = this.#loaded.tasks.get(request.name);
    if (task === undefined) throw new NotRegistered(request.name);
    const context = this.#contextOf(job, request);
    this.#current = { job: job.job, id: request.id, context };
    const checked = await checkCall(task, request.args, request.kwargs, validate);
    if (!checked.ok) return { how: "invalid", errors: checked.errors };
    try {
      return returned(await execute(task, checked.call, context, validate));
    } catch (error) {
      if (isPause(error)) return { how: "paused" };
      return isIgnore(error) ? returned(null) : threw(error);
    }
  }

  #say(job: number, mognet: MognetEnding): void {
    this.#current = null;
    const kib = this.#init.saysMemory ? usedKib() : 0;
    this.#line.post({ type: "ended", job, mognet, kib, last: this.#spoilt });
  }

  #contextOf(job: MognetJob, request: MognetRequest): RunningMognetContext {
    const { app, services, createRequest } = this.#loaded;
    const { hostname: nodeId, logLevels } = this.#init;
    const ask = (method: MognetMethod, given: readonly unknown[], limits?: CallLimits) =>
      this.#ask(job, method, given, limits);
    const store = childStore((call, limits) => ask("store", call, limits));
    const worker: ChildWorker = {
      store,
      revoke: async (id, force) => void (await ask("revoke", [id, force])),
    };
    const handle = (id: string, name: string | null, returns: AnyTask["returns"]) =>
      this.#loaded.result({ id, name }, returns, worker);
    const run: ContextRun = {
      request,
      record: job.record,
      delivery: { info: job.info, message: { headers: job.headers } },
      dependencies: 0,
    };
    const host: MognetContextHost = {
      parts: {
        app,
        nodeId,
        services,
        store,
        log: new ChildLog(logLevels, (level, fields, message) => {
          this.#line.post({ type: "log", job: job.job, level, fields, message });
        }),
        outbox: {
          createRequest,
          submit: async (made: Request, _parent: MognetContext) => {
            await ask("submit", [partsOf(made)]);
            return handle(made.id, made.name, made.returns);
          },
          result: (id) => handle(id, null, null),
        },
      },
      adjust: async ({ dependencies }) => void (await ask("adjust", [dependencies])),
    };
    return new RunningMognetContext(run, host);
  }

  async #ask(
    { job, id }: MognetJob,
    method: MognetMethod,
    given: readonly unknown[],
    limits?: CallLimits,
  ): Promise<unknown> {
    try {
      const json = await this.#calls.call(job, method, encodeCompactJson(given), limits);
      const answer = decodePlainJson(json, { floats: this.#init.keepFloats ? "keep" : "number" });
      return Array.isArray(answer) ? answer[0] : undefined;
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      throw unpackFault(error.packed) ?? remoteError(id, error.packed);
    }
  }
}

function returned(value: unknown): MognetEnding {
  return { how: "returned", value: encodeMognetValue(mognetValueOf(value)) };
}

function threw(error: unknown): MognetEnding {
  return { how: "threw", error: pythonErrorOf(error), text: textOf(error) };
}

function textOf(thrown: unknown): string {
  const error = readableThrown(thrown);
  return error instanceof RemoteTaskError ? error.message : pythonErrorOf(error).message;
}

function remoteError(id: string, { exception, traceback }: CallFailed["packed"]): Error {
  const read = decodePlainJson(exception);
  const [type, module, args]: unknown[] = Array.isArray(read) ? read : [];
  return new RemoteTaskError(
    id,
    {
      type: typeof type === "string" ? type : "Exception",
      module: typeof module === "string" ? module : null,
      args: Array.isArray(args) ? args : [],
    },
    traceback,
  );
}

/** All that a request says of itself; who submits it is known to the worker. */
function partsOf(request: Request): Record<string, unknown> {
  const { id, name, args, kwargs, metadata, deadline, queueName, kwargsRepr, priority } = request;
  return { id, name, args, kwargs, metadata, deadline, queueName, kwargsRepr, priority };
}
