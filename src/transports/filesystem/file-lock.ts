/**
 * `flock(2)`, which Python holds while it reads and writes exchange files. Node has no such call, so the `flock` program of
 * util-linux (or busybox) holds the lock: it runs `cat`, which echoes our byte once the lock is ours and ends with its input.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { TransportError } from "../errors.ts";

export class FileLock {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;

  constructor(child: ChildProcessByStdio<Writable, Readable, null>, ended: Promise<void>) {
    this.#child = child;
    this.#ended = ended;
  }

  /** Resolves when the lock is free again. */
  release(): Promise<void> {
    this.#child.stdin.end();
    return this.#ended;
  }
}

let available: boolean | null = null;

/** An exclusive lock on an existing file; null where there is no `flock` program. Rejects when it is not to be had in time. */
export function lockFile(path: string, timeoutMs = 10_000): Promise<FileLock | null> {
  if (available === false) return Promise.resolve(null);
  return new Promise((resolve, reject) => {
    const child = spawn("flock", ["-x", path, "cat"], { stdio: ["pipe", "pipe", "ignore"] });
    let end = (): void => undefined;
    const ended = new Promise<void>((done) => {
      end = done;
    });
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(
        new TransportError("FILE_LOCK", `the lock on ${path} was not to be had within ${timeoutMs} ms`, {
          retryable: true,
        }),
      );
    }, timeoutMs);
    child.stdin.on("error", end); // it ended before it read: `exit` tells
    child.stdin.write("!");
    child.stdout.once("data", () => {
      clearTimeout(timer);
      available = true;
      resolve(new FileLock(child, ended));
    });
    child.once("error", (cause: Error & { code?: string }) => {
      clearTimeout(timer);
      end();
      if (cause.code !== "ENOENT") {
        reject(new TransportError("FILE_LOCK", `cannot lock ${path}: ${cause.message}`, { cause, retryable: true }));
        return;
      }
      available = false;
      resolve(null);
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      end();
      reject(new TransportError("FILE_LOCK", `cannot lock ${path}: flock ended with ${code}`, { retryable: true }));
    });
  });
}
