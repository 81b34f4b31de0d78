/**
 * What a thread or process of a pool runs: it loads the module of the tasks and does the jobs that the worker gives it. Signals that
 * reach a whole process group (^C, a service manager) are the worker's to answer; a child ends when its worker says so, or is gone.
 */
import { parentPort } from "node:worker_threads";
import { ErrorRegistry } from "../client/remote-errors.ts";
import { becomePoolChild } from "../runtime/pool-child.ts";
import { currentTask } from "../tasks/context.ts";
import { packError } from "../worker/pools/freight.ts";
import { InChild, type LoadedTasks } from "../worker/pools/in-child.ts";
import type { InnerLife, WorkerLine } from "../worker/pools/inner-life.ts";
import type { ChildInit, FromChild, ToChild } from "../worker/pools/messages.ts";
import { loadTasks } from "./load-app.ts";

becomePoolChild();

interface Line extends WorkerLine {
  listen(onMessage: (message: ToChild) => void): void;
  /** Says the last word and ends. */
  end(message: FromChild | null, code: number): void;
}

function threadLine(port: NonNullable<typeof parentPort>): Line {
  return {
    post: (message) => port.postMessage(message),
    listen: (onMessage) => void port.on("message", onMessage),
    end(message, code) {
      if (message !== null) port.postMessage(message);
      process.exit(code);
    },
  };
}

function processLine(): Line {
  const send = (message: FromChild, then?: () => void) => void process.send?.(message, undefined, undefined, then);
  return {
    post(message) {
      if (process.connected) send(message);
    },
    listen: (onMessage) => void process.on("message", (message) => onMessage(message as ToChild)),
    end(message, code) {
      if (message === null || !process.connected) process.exit(code);
      send(message, () => process.exit(code));
    },
  };
}

async function load(module: string): Promise<LoadedTasks> {
  const { app, tasks } = await loadTasks(module);
  const errors = new ErrorRegistry();
  return {
    tasks,
    errorOf(taskId, exception, traceback) {
      if (app !== null) return app.remoteError(taskId, exception, traceback);
      return errors.errorOf(taskId, {
        status: "FAILURE",
        result: null,
        exception,
        traceback,
        children: null,
        dateDone: null,
        taskId,
      });
    },
    close: async () => app?.close(),
  };
}

/** A child that has loaded its tasks. */
export interface Inside {
  readonly life: InnerLife;
  close(): Promise<void>;
}

async function enter(line: WorkerLine, init: ChildInit): Promise<Inside> {
  if (init.protocol === "mognet") {
    // Children of Celery apps do without.
    const { enterMognet } = await import("./mognet-child.ts");
    return enterMognet(line, init);
  }
  const loaded = await load(init.module);
  const life = new InChild(line, init, loaded, {
    accept: new Set(init.accept),
    limits: { maxBytes: init.maxBytes, maxDecompressedBytes: init.maxDecompressedBytes },
    decode: { maxDepth: init.maxDepth, ...(init.keepFloats ? { floats: "keep" as const } : {}) },
  });
  return { life, close: () => loaded.close() };
}

function serve(line: Line): void {
  let inside: InnerLife | null = null;
  const strayOf = (error: unknown, ends: boolean): FromChild => {
    const whose = currentTask();
    return { type: "stray", error: packError(error), id: whose?.id ?? null, task: whose?.name ?? null, ends };
  };
  const stray = (error: unknown) => line.end(strayOf(error, true), 1);
  process.on("uncaughtException", (error) => {
    // Left behind by a task that has ended: the one that runs now may end too.
    if (inside?.outlives(currentTask()?.id) === true) line.post(strayOf(error, true));
    else stray(error);
  });
  process.on("unhandledRejection", (reason) => line.post(strayOf(reason, false)));
  line.listen((message) => {
    if (message.type !== "init") {
      inside?.onMessage(message);
      return;
    }
    enter(line, message.init).then(
      ({ life, close }) => {
        inside = life;
        life
          .gone()
          .then(close)
          .then(() => line.end(null, 0), stray);
      },
      (error: unknown) => line.end({ type: "unfit", error: packError(error) }, 1),
    );
  });
}

if (parentPort !== null) serve(threadLine(parentPort));
else {
  for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit(0));
  serve(processLine());
}
