/**
 * Makes sure that what a test started ends with the test, however that ends. A shell of a few hundred kilobytes waits for
 * its standard input to close, which also happens when our process is killed, then kills the group and removes the folders.
 */
import { type ChildProcess, spawn } from "node:child_process";

const script = `read _
kill -KILL "-$1" 2>/dev/null
shift
[ $# -gt 0 ] && sleep 0.2 && rm -rf -- "$@"
exit 0`;

/** Guards the process group `pid`; `dismiss` is for when it has ended in order. */
export function guardGroup(pid: number, folders: readonly string[] = []): { dismiss(): void } {
  if (process.platform === "win32") return { dismiss: () => undefined };
  const guard: ChildProcess = spawn("/bin/sh", ["-c", script, "lovage-guard", String(pid), ...folders], {
    stdio: ["pipe", "ignore", "ignore"],
    // Its own group: a signal to ours, such as Ctrl-C, must not take the guard first.
    detached: true,
  });
  // A guard that cannot start only means that nothing is guarded.
  guard.on("error", () => undefined);
  guard.stdin?.on("error", () => undefined);
  guard.unref();
  if (guard.stdin && "unref" in guard.stdin && typeof guard.stdin.unref === "function") guard.stdin.unref();
  return {
    dismiss() {
      guard.kill("SIGKILL");
      guard.stdin?.destroy();
    },
  };
}
