/** A child that is a process (`node:child_process`): nothing is shared, and any signal ends it. */
import { fork } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import type { Child, ChildEvents } from "./child.ts";
import type { FromChild } from "./messages.ts";
import { OrphanGuard } from "./orphan-guard.ts";

export function spawnProcess(entry: URL): (events: ChildEvents) => Child {
  const guard = new OrphanGuard();
  return (events) => {
    const child = fork(fileURLToPath(entry), [], {
      serialization: "advanced",
      // A second debugger on the same port only complains.
      execArgv: process.execArgv.filter((flag) => !flag.startsWith("--inspect")),
    });
    if (child.pid !== undefined) guard.watch(child.pid);
    let gone = false;
    const exit = (how: string): void => {
      if (gone) return;
      gone = true;
      if (child.pid !== undefined) guard.forget(child.pid);
      events.exit(how);
    };
    child.on("message", (message) => events.message(message as FromChild));
    child.on("error", (error) => {
      // It could not be started; what cannot be sent to a dead one is answered by its end.
      if (child.pid === undefined) exit(error.message);
    });
    child.on("exit", (code, signal) => exit(signal === null ? `exitcode ${code}` : signalText(signal)));
    return {
      pid: child.pid ?? 0,
      post(message) {
        if (child.connected) child.send(message);
      },
      kill(signal) {
        child.kill(signal);
      },
      unref() {
        child.unref();
        child.channel?.unref();
      },
    };
  };
}

/** wire: billiard/common.py `human_status`. */
function signalText(signal: NodeJS.Signals): string {
  return `signal ${constants.signals[signal]} (${signal})`;
}
