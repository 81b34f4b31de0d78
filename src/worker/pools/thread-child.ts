/** A child that is a thread (`node:worker_threads`): shares the process, has an event loop and a heap of its own. */
import { Worker } from "node:worker_threads";
import type { Child, ChildEvents } from "./child.ts";
import type { FromChild, ToChild } from "./messages.ts";

export function spawnThread(entry: URL, name: string): (events: ChildEvents) => Child {
  return (events) => {
    const thread = new Worker(entry, { name, argv: [] });
    let how: string | null = null;
    thread.on("message", (message: FromChild) => events.message(message));
    thread.on("error", (error: Error & { code?: string }) => {
      how = error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "out of memory" : `${error.name}: ${error.message}`;
    });
    thread.on("exit", (code) => events.exit(how ?? `exitcode ${code}`));
    return {
      pid: process.pid,
      post(message) {
        thread.postMessage(message, transferOf(message));
      },
      kill() {
        void thread.terminate();
      },
      unref() {
        thread.unref();
      },
    };
  };
}

/** A clone of a view would copy all of the buffer below it; the pool posts bodies that are copies of their own. */
function transferOf(message: ToChild): ArrayBuffer[] {
  if (message.type !== "job") return [];
  const { buffer } = message.message.body;
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}
