/**
 * Ends child processes whose worker was killed. A child that waits sees its channel close and goes; one that is in a loop of its own
 * sees nothing. A shell, of some hundred kilobytes, waits for its input to close, which also happens when we are killed; what we last
 * told it of is killed then. Celery's children would run on.
 */
import { type ChildProcess, spawn } from "node:child_process";

/** The last whole line is the list; an end without `done` is ours. */
const SCRIPT = `pids=
while read -r line; do
  [ "$line" = done ] && exit 0
  pids=$line
done
[ -n "$pids" ] && kill -KILL $pids 2>/dev/null
exit 0`;

export class OrphanGuard {
  readonly #pids = new Set<number>();
  #shell: ChildProcess | null = null;

  watch(pid: number): void {
    this.#pids.add(pid);
    this.#shell ??= startShell();
    this.#tell([...this.#pids].join(" "));
  }

  forget(pid: number): void {
    this.#pids.delete(pid);
    this.#tell([...this.#pids].join(" "));
    if (this.#pids.size > 0) return;
    this.#tell("done");
    this.#shell?.stdin?.end();
    this.#shell = null;
  }

  #tell(line: string): void {
    this.#shell?.stdin?.write(`${line}\n`);
  }
}

function startShell(): ChildProcess | null {
  if (process.platform === "win32") return null;
  const shell = spawn("/bin/sh", ["-c", SCRIPT, "lovage-pool-guard"], {
    stdio: ["pipe", "ignore", "ignore"],
    // A group of its own: a signal to ours must not take the guard first.
    detached: true,
  });
  // Without a shell nothing is guarded, and nothing else is amiss.
  shell.on("error", () => undefined);
  shell.stdin?.on("error", () => undefined);
  shell.unref();
  const { stdin } = shell;
  if (stdin !== null && "unref" in stdin && typeof stdin.unref === "function") stdin.unref();
  return shell;
}
