/**
 * A process that belongs to a test: started in its own group, its output kept, ended with the test.
 *
 * Life: running -> ended. `kill` and `stop` on an ended process do nothing. Only what was started here is ever signalled, by
 * its own process id or group.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { PeerFailed, ProgramNotFound } from "./errors.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { type LogWaitOptions, PeerLog } from "./peer-log.ts";
import { guardGroup } from "./process-guard.ts";
import { endsWithin, within } from "./wait.ts";

/** How a peer is started. */
export interface PeerProcessOptions {
  /** For messages and the log file. @default the command */
  name?: string;
  args?: readonly string[];
  cwd?: string;
  /** Added to our environment; `undefined` takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Also append the output to this file. @default a file in LOVAGE_TEST_LOG_DIR when that is set */
  logFile?: string;
  /** Keep stdout out of the log and hand it to this function. */
  onStdout?: (text: string) => void;
  /** Open `stdin` for writing. @default false */
  stdin?: boolean;
  /** Folders to remove should our process be killed. */
  folders?: readonly string[];
}

const peerProcessOptions: NamesOf<PeerProcessOptions> = {
  name: true,
  args: true,
  cwd: true,
  env: true,
  logFile: true,
  onStdout: true,
  stdin: true,
  folders: true,
};

/** How a process ended; one of the two is null. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

let started = 0;

/** A running peer: its log, its end, and signals to it. Disposal ends it. */
export class PeerProcess implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Resolves when the process has ended; never rejects. */
  readonly ended: Promise<Ended>;
  readonly stdin: Writable | null;
  readonly #child: ChildProcess;
  readonly #log: PeerLog;
  #end: Ended | undefined;

  /** Resolves when the process runs. A missing program is `ProgramNotFound`. */
  static async start(command: string, options: PeerProcessOptions = {}): Promise<PeerProcess> {
    knownOptions(options, peerProcessOptions, "PeerProcess.start()");
    const child = spawn(command, [...(options.args ?? [])], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.stdin ? "pipe" : "ignore", "pipe", "pipe"],
      detached: true,
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) =>
        reject(
          "code" in error && error.code === "ENOENT"
            ? new ProgramNotFound(command, "is it installed, and does the working folder exist?", { cause: error })
            : new PeerFailed(`${command} did not start: ${error.message}`, { cause: error }),
        ),
      );
    });
    return new PeerProcess(child, command, options);
  }

  private constructor(child: ChildProcess, command: string, options: PeerProcessOptions) {
    this.#child = child;
    this.pid = child.pid as number;
    this.name = options.name ?? command;
    this.stdin = child.stdin;
    this.#log = new PeerLog(this.name, options.logFile ?? defaultLogFile(this.name));
    const guard = guardGroup(this.pid, options.folders);
    child.stdout?.setEncoding("utf8").on("data", options.onStdout ?? ((text: string) => this.#log.append(text)));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#log.append(text));
    // The other side may end while we write; that it has ended is told by `ended`.
    child.stdin?.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#end = { code, signal };
        // Children that outlived it are ours too, and now is the moment when its group surely is still its own.
        this.killGroup();
        guard.dismiss();
        // Children of the process may hold its output open for ever; what it wrote itself lies in the pipe, and is read before
        // `setImmediate` has its turn, however late this process is.
        const finish = () => {
          clearTimeout(timer);
          this.#log.end();
          resolve({ code, signal });
        };
        const timer = setTimeout(() => setImmediate(finish), 200);
        child.once("close", finish);
      });
    });
  }

  get alive(): boolean {
    return this.#end === undefined;
  }

  /** Everything written so far (bounded), or what came after a `mark()`. */
  log(after?: number): string {
    return this.#log.text(after);
  }

  /** A position in the log, to wait only for what comes after it. */
  mark(): number {
    return this.#log.mark();
  }

  /** Resolves with the match as soon as the log has it, also if it was there before. */
  waitForLog(pattern: RegExp | string, options?: LogWaitOptions): Promise<RegExpMatchArray> {
    return this.#log.waitFor(pattern, options);
  }

  /** Throws `PeerFailed`, with the end of the log, if the process has ended. */
  assertAlive(): void {
    if (this.#end) {
      const { code, signal } = this.#end;
      throw new PeerFailed(`${this.name} ended (${signal ?? `code ${code}`}):\n${this.#log.tail()}`);
    }
  }

  /** Sends a signal to the process alone, not to its children. */
  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    if (this.alive) this.#child.kill(signal);
  }

  /** Sends a signal to the process and all its children in its group. */
  killGroup(signal: NodeJS.Signals = "SIGKILL"): void {
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }

  /** Asks the process to end, and kills its group when it has not after `grace` milliseconds. */
  async stop(options: { signal?: NodeJS.Signals; grace?: number } = {}): Promise<Ended> {
    const { signal = "SIGTERM", grace = 10_000 } = options;
    this.kill(signal);
    if (this.alive && !(await endsWithin(this.ended, grace)) && this.alive) this.killGroup();
    return within(this.ended, 10_000, `${this.name} to end`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ grace: 3_000 });
  }
}

function defaultLogFile(name: string): string | undefined {
  const folder = process.env.LOVAGE_TEST_LOG_DIR;
  if (!folder) return undefined;
  mkdirSync(folder, { recursive: true });
  started++;
  return join(folder, `${process.pid}-${started}-${name.replace(/[^\w.-]+/g, "_")}.log`);
}
