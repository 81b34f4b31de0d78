/**
 * The inside of a child: loads the tasks, runs one body at a time, and passes on to the worker what the body asks of it. Nothing of
 * brokers and result stores is here; a handler that uses its app directly opens connections of its own, as in any process.
 */

import type { RemoteException } from "../../../protocol/celery/exceptions.ts";
import { readResultTuple, readResultTuples } from "../../../protocol/celery/result-tuple.ts";
import type { TaskRequest } from "../../../protocol/celery/task-message.ts";
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { decodeJson, encodeJson } from "../../../protocol/json.ts";
import { isRecord } from "../../../protocol/records.ts";
import { ChordsNotSupported } from "../../result-backends/chord-counter.ts";
import { callArguments } from "../../tasks/call-arguments.ts";
import { checkOptions } from "../../tasks/call-options.ts";
import type { SentTask } from "../../tasks/context.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import { NotRegistered, TimeoutError } from "../../tasks/errors.ts";
import type { DeliveryInfo } from "../../transports/transport.ts";
import { mapTask, starmapTask } from "../builtin-tasks/map.ts";
import { type OutcomeEvent, run } from "../executor.ts";
import { type ReadingRules, readExactly, readPlainly } from "../intake.ts";
import type { Applied, Outbox } from "../outbox.ts";
import { type ContextHost, type ContextRequest, RunningContext } from "../running-context.ts";
import { CallFailed, CallLine } from "./call-line.ts";
import { ChildLog } from "./child-log.ts";
import { packEnding, packError, unpackReason } from "./freight.ts";
import type { InnerLife, WorkerLine } from "./inner-life.ts";
import type { CeleryInit, CeleryMethod, Ending, Job, PackedError, ToChild } from "./messages.ts";
import { usedKib } from "./used-kib.ts";

/** What the module of the tasks gives. */
export interface LoadedTasks {
  readonly tasks: Iterable<AnyTask>;
  /** The error for an exception that came back from afar. */
  errorOf(taskId: string, exception: RemoteException, traceback: string): Error;
  close(): Promise<void>;
}

/** A body that runs here. */
class ChildRequest implements ContextRequest {
  readonly job: Job;
  readonly message: TaskRequest;
  readonly delivery: { readonly info: DeliveryInfo };
  readonly plan: { readonly task: AnyTask; readonly ignoreResult: boolean };
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  children: ContextRequest["children"] = null;

  constructor(job: Job, message: TaskRequest, task: AnyTask) {
    this.job = job;
    this.message = message;
    this.delivery = { info: job.info };
    this.plan = { task, ignoreResult: job.ignoreResult };
    this.timeLimit = job.timeLimit;
    this.softTimeLimit = job.softTimeLimit;
  }
}

export class InChild implements InnerLife {
  readonly #line: WorkerLine;
  readonly #init: CeleryInit;
  readonly #loaded: LoadedTasks;
  readonly #tasks = new Map<string, AnyTask>();
  readonly #rules: ReadingRules;
  readonly #calls: CallLine;
  #current: { request: ChildRequest; context: RunningContext } | null = null;
  #leaving: (() => void) | null = null;
  /** What a former body left behind has gone wrong here. */
  #spoilt = false;

  constructor(line: WorkerLine, init: CeleryInit, loaded: LoadedTasks, rules: ReadingRules) {
    this.#line = line;
    this.#calls = new CallLine((message) => line.post(message));
    this.#init = init;
    this.#loaded = loaded;
    this.#rules = rules;
    const plans = { get: (name: string) => this.#planOf(name) };
    const settings = { lovage_validate_params: init.validate };
    for (const task of [mapTask({ plans, settings }), starmapTask({ plans, settings })])
      this.#tasks.set(task.name, task);
    for (const task of loaded.tasks) if (task.handler !== null) this.#tasks.set(task.name, task);
    line.post({ type: "ready", tasks: [...this.#tasks.keys()] });
  }

  gone(): Promise<void> {
    return new Promise((resolve) => {
      this.#leaving = resolve;
    });
  }

  outlives(id: string | undefined): boolean {
    const running = this.#current?.request.message.id;
    if (running === undefined || id === undefined || id === running) return false;
    this.#spoilt = true;
    return true;
  }

  onMessage(message: ToChild): void {
    switch (message.type) {
      case "job":
        return this.#run(message);
      case "abort":
        if (this.#current?.request.job.job === message.job) this.#current.context.abort(unpackReason(message.reason));
        return;
      case "answer":
        return this.#calls.onAnswer(message.call, message.answer);
      case "leave":
        this.#leaving?.();
        return;
    }
  }

  #planOf(name: string): { task: AnyTask } | undefined {
    const task = this.#tasks.get(name);
    return task === undefined ? undefined : { task };
  }

  #run(job: Job): void {
    let request: ChildRequest;
    try {
      const message = readPlainly(job.message, this.#rules);
      const task = this.#tasks.get(message.task);
      if (task === undefined) throw new NotRegistered(message.task);
      request = new ChildRequest(job, message, task);
    } catch (error) {
      return this.#say(job.job, { event: "threw", error: packError(error) }, null);
    }
    const context = new RunningContext(request, this.#hostOf(request));
    this.#current = { request, context };
    context.startSoftLimit();
    run(request, context, this.#init.validate, this.#onEnd);
  }

  readonly #onEnd = (request: ChildRequest, event: OutcomeEvent, result: unknown): void => {
    this.#current = null;
    const ending = packEnding(event, result, request.plan.task.behaviour.throws);
    this.#say(request.job.job, ending, request.children === null ? null : encodeJson(request.children));
  };

  #say(job: number, ending: Ending, children: string | null): void {
    const kib = this.#init.saysMemory ? usedKib() : 0;
    this.#line.post({ type: "ended", job, ...ending, children, kib, last: this.#spoilt });
  }

  #hostOf(request: ChildRequest): ContextHost {
    const { hostname, inheritPriority, countsChords, logLevels } = this.#init;
    const { job } = request.job;
    return {
      hostname,
      log: new ChildLog(logLevels, (level, fields, message) => {
        this.#line.post({ type: "log", job, level, fields, message });
      }),
      outbox: this.#outboxOf(request),
      inheritPriority,
      addPart: async (_request, signature) => {
        if (!countsChords) throw new ChordsNotSupported("Backend does not support add_to_chord");
        return this.#applied(request, "addPart", { signature });
      },
      exactly: () => readExactly(request.message, request.job.message, this.#rules),
      updateState: async (_request, state, meta) => {
        await this.#call(request, "updateState", { state, meta: meta ?? null, children: request.children ?? [] });
      },
      sendEvent: async (_request, type, fields) => {
        await this.#call(request, "sendEvent", { type, fields });
      },
    };
  }

  #outboxOf(request: ChildRequest): Pick<Outbox, "send" | "sendTask" | "apply" | "checkOptions"> {
    const sendTask: Outbox["sendTask"] = async (name, args, kwargs, { signal, ...options }) => {
      const id = decodeJson(await this.#call(request, "sendTask", { name, args, kwargs, options }, signal));
      return this.#sent(request, String(id));
    };
    return {
      sendTask,
      send: async (task, args, options) => {
        const known = this.#tasks.get(task.name) ?? this.#anyTask(task.name);
        if (known === undefined) throw new ImproperlyConfigured(`task ${task.name} is not registered with the app`);
        const call = await callArguments(known, args, this.#init.validate);
        return sendTask(known.name, call.args, call.kwargs, options);
      },
      apply: async (signature) => this.#applied(request, "apply", { signature }),
      checkOptions: (at, options) => void checkOptions(options, { task: at }),
    };
  }

  /** A stub: a task that is sent from here and runs elsewhere. */
  #anyTask(name: string): AnyTask | undefined {
    for (const task of this.#loaded.tasks) if (task.name === name) return task;
    return undefined;
  }

  async #applied(request: ChildRequest, method: "apply" | "addPart", given: object): Promise<Applied> {
    const read = decodeJson(await this.#call(request, method, given));
    const { result, children } = isRecord(read) ? read : {};
    return {
      result: result === null || result === undefined ? null : readResultTuple(result),
      children: readResultTuples(children ?? []),
    };
  }

  #sent(request: ChildRequest, id: string): SentTask {
    return {
      id,
      get: async ({ signal, ...options } = {}) => {
        const json = await this.#call(request, "get", { id, options }, signal, id, options.timeout);
        return decodeJson(json, { floats: this.#init.keepFloats ? "keep" : "number" });
      },
    };
  }

  /** Resolves with the answer as JSON. */
  async #call(
    request: ChildRequest,
    method: CeleryMethod,
    given: object,
    signal?: unknown,
    about: string = request.message.id,
    timeoutMs = 0,
  ): Promise<string> {
    const limits = { signal: signal instanceof AbortSignal ? signal : undefined };
    try {
      return await this.#calls.call(request.job.job, method, encodeJson(given), limits);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      if (error.packed.kind === "timeout") throw new TimeoutError(about, timeoutMs);
      throw this.#errorOf(error.packed, about);
    }
  }

  #errorOf(packed: PackedError, taskId: string): Error {
    const [type, module, args] = decodeJson(packed.exception) as [string, string | null, unknown[]];
    return this.#loaded.errorOf(taskId, { type, module, args }, packed.traceback);
  }
}
