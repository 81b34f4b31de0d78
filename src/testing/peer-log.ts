/** The output of a process, kept in bounded memory and waited upon. */
import { createWriteStream, type WriteStream } from "node:fs";
import { PeerFailed, WaitTimeout } from "./errors.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { defaultWaitMs } from "./wait.ts";

/** Characters kept; older output is dropped. */
const keptCharacters = 8 * 1024 * 1024;

/** For waits on a peer's log. */
export interface LogWaitOptions {
  /** Milliseconds. @default 30_000 */
  timeout?: number;
  /** Look only at what came after this `mark()`. @default 0, everything */
  after?: number;
}

const logWaitOptions: NamesOf<LogWaitOptions> = {
  timeout: true,
  after: true,
};

export class PeerLog {
  readonly #name: string;
  #text = "";
  #dropped = 0;
  #ended = false;
  readonly #watchers = new Set<() => void>();
  readonly #file: WriteStream | undefined;

  constructor(name: string, file?: string) {
    this.#name = name;
    this.#file = file === undefined ? undefined : createWriteStream(file, { flags: "a" });
    // The copy in a file is a convenience: without it the log in memory still serves.
    this.#file?.on("error", () => undefined);
  }

  append(text: string): void {
    this.#text += text;
    this.#file?.write(text);
    if (this.#text.length > keptCharacters) {
      const excess = this.#text.length - (keptCharacters >> 1);
      this.#text = this.#text.slice(excess);
      this.#dropped += excess;
    }
    for (const watch of [...this.#watchers]) watch();
  }

  end(): void {
    this.#ended = true;
    this.#file?.end();
    for (const watch of [...this.#watchers]) watch();
  }

  /** A position in the log, for `after`. */
  mark(): number {
    return this.#dropped + this.#text.length;
  }

  text(after = 0): string {
    return this.#text.slice(Math.max(0, after - this.#dropped));
  }

  /** The last lines, for an error message. */
  tail(lines = 25): string {
    return this.#text.trimEnd().split("\n").slice(-lines).join("\n");
  }

  /** Resolves with the match, also if it was there before. Rejects when the process ends without it, or in time. */
  waitFor(pattern: RegExp | string, options: LogWaitOptions = {}): Promise<RegExpMatchArray> {
    knownOptions(options, logWaitOptions, "waitForLog()");
    const { timeout = defaultWaitMs, after = 0 } = options;
    // Without the flags that make a RegExp remember where it stopped.
    const wanted =
      typeof pattern === "string"
        ? new RegExp(escapePattern(pattern))
        : new RegExp(pattern.source, `${pattern.flags.replace(/[gmy]/g, "")}m`);
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        act();
      };
      const look = () => {
        const match = this.text(after).match(wanted);
        if (match) settle(() => resolve(match));
        else if (this.#ended) {
          settle(() => reject(new PeerFailed(`${this.#name} ended without logging ${pattern}:\n${this.tail()}`)));
        }
      };
      const timer = setTimeout(
        () =>
          settle(() =>
            reject(
              new WaitTimeout(
                `waited ${timeout} ms for ${this.#name} to log ${pattern}; its log ends:\n${this.tail()}`,
              ),
            ),
          ),
        timeout,
      );
      this.#watchers.add(look);
      look();
    });
  }
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
