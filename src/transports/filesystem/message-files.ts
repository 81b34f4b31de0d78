/**
 * Message files: put into the folder whole, taken out of it by one process, given back. wire: celery-wire 7.1.
 *
 * - Put: written in a folder of ours and renamed into place, so that neither Kombu nor we ever take half a message. There is no
 *   fsync, as in Kombu: a message survives the death of any process, and not a power cut in the same second.
 * - Taken: renamed into a folder that carries the name of the living process; the rename decides between two takers.
 * - Settled: removed (or kept in `processedFolder`). What a dead process held is found by its folder's name and given back.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ProtocolError } from "../../../protocol/errors.ts";
import { type DecodedEnvelope, decodeEnvelope, markRedelivered } from "../../../protocol/kombu/envelope.ts";
import { queueOfFileName } from "../../../protocol/kombu/filesystem-names.ts";
import type { Log } from "../../runtime/log.ts";
import { errorCode, type Folders } from "./folders.ts";
import { nextMessageName } from "./message-names.ts";
import { isDead, newOwnerName } from "./owner.ts";

/** A claimed file younger than this that cannot be read may still be written by Python. */
const writingMs = 2_000;
/** In an owner's folder: its queues that end with it. */
const queuesFile = "queues.json";

/** `envelope`, or why there is none; `later`: Python may not have finished it. */
export type ReadOutcome = { envelope: DecodedEnvelope } | { refused: string } | "later";

export class MessageFiles {
  readonly #folders: Folders;
  readonly #maxBytes: number;
  readonly #log: Log;
  readonly #owner: string;
  #writes = 0;

  constructor(folders: Folders, maxBytes: number, log: Log) {
    this.#folders = folders;
    this.#maxBytes = maxBytes;
    this.#log = log;
    this.#owner = join(folders.claims, newOwnerName());
  }

  /** Writes one envelope text for `queue`. */
  put(queue: string, text: string): void {
    const name = nextMessageName(queue);
    const temporary = join(this.#folders.temporary, `${process.pid}-${++this.#writes}-${name}`.slice(0, 200));
    try {
      writeFileSync(temporary, text, { flag: "wx" });
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      this.#folders.make();
      writeFileSync(temporary, text, { flag: "wx" });
    }
    try {
      renameSync(temporary, join(this.#folders.dataOut, name));
    } catch (error) {
      unlinkSync(temporary);
      throw error;
    }
  }

  /** How many lie in the folder for a queue. */
  async count(queue: string): Promise<number> {
    const names = await readdir(this.#folders.dataIn);
    let count = 0;
    for (const name of names) if (queueOfFileName(name) === queue) count++;
    return count;
  }

  /** Removes those that lie in the folder for a queue, and says how many. */
  removeAll(queue: string): number {
    let removed = 0;
    for (const name of readdirSync(this.#folders.dataIn)) {
      if (queueOfFileName(name) !== queue) continue;
      try {
        unlinkSync(join(this.#folders.dataIn, name));
        removed++;
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error; // taken meanwhile
      }
    }
    return removed;
  }

  /** True when the file is ours now. */
  claim(name: string): boolean {
    const from = join(this.#folders.dataIn, name);
    const to = join(this.#owner, name);
    try {
      renameSync(from, to);
      return true;
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      // another process was quicker, unless it is our own folder that is missing
      if (existsSync(this.#owner) || !existsSync(from)) return false;
      this.makeOwner();
      return this.claim(name);
    }
  }

  /** Reads a claimed file. */
  read(name: string): ReadOutcome {
    const path = join(this.#owner, name);
    const stat = statSync(path);
    // Reading a pipe would wait for ever, and a device may never end.
    if (!stat.isFile()) return { refused: "not a regular file" };
    const { size, mtimeMs } = stat;
    if (size > this.#maxBytes) return { refused: `a message of ${size} bytes; at most ${this.#maxBytes} are taken` };
    try {
      return { envelope: decodeEnvelope(readFileSync(path, "utf8")) };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (Math.abs(Date.now() - mtimeMs) < writingMs) return "later";
      return { refused: size === 0 ? "an empty file" : error.message };
    }
  }

  /** The message is done with. */
  settle(name: string): void {
    const path = join(this.#owner, name);
    const { processed } = this.#folders;
    try {
      if (processed === null) discard(path);
      else moveFile(path, join(processed, name));
    } catch (error) {
      this.#onLostClaim(name, error);
    }
  }

  /** Puts a claimed message back, marked as redelivered: in its old place, or `last` in its queue as Kombu's requeue does. */
  giveBack(name: string, last: boolean): void {
    try {
      const queue = last ? queueOfFileName(name) : null;
      this.#giveBackFrom(this.#owner, name, queue === null ? name : nextMessageName(queue));
    } catch (error) {
      this.#onLostClaim(name, error);
    }
  }

  makeOwner(): void {
    mkdirSync(this.#owner, { recursive: true, mode: 0o700 });
  }

  /** Renews the time stamp by which processes elsewhere see that we live. */
  heartbeat(): void {
    const now = new Date();
    try {
      utimesSync(this.#owner, now, now);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      this.makeOwner();
    }
  }

  /** Writes down which queues nobody will read after us. */
  rememberQueues(queues: readonly string[]): void {
    const path = join(this.#owner, queuesFile);
    if (queues.length > 0) writeFileSync(path, JSON.stringify(queues));
    else if (existsSync(path)) unlinkSync(path);
  }

  /** Our folder is empty now, or is left to be found. */
  removeOwner(): void {
    removeUnlessFilled(this.#owner);
  }

  /** Gives back what dead processes of Lovage held. Returns their messages' number and their queues. */
  recover(): { messages: number; queues: string[] } {
    let messages = 0;
    const queues: string[] = [];
    for (const owner of readdirSync(this.#folders.claims)) {
      if (!isDead(owner, this.#folders.claims)) continue;
      // under a name of ours, so that one process alone deals with it, and another can if we die meanwhile
      const adopted = join(this.#folders.claims, newOwnerName());
      try {
        renameSync(join(this.#folders.claims, owner), adopted);
      } catch (error) {
        if (errorCode(error) === "ENOENT") continue;
        throw error;
      }
      for (const name of readdirSync(adopted)) {
        const path = join(adopted, name);
        try {
          if (name === queuesFile) queues.push(...readQueues(path));
          else if (queueOfFileName(name) !== null && isRegularFile(path)) {
            this.#giveBackFrom(adopted, name, name);
            messages++;
            continue;
          }
          discard(path);
        } catch (error) {
          // One entry that cannot be dealt with must not keep back the messages behind it.
          this.#log.warn({ err: error, file: path }, "what a dead process held cannot be given back");
        }
      }
      removeUnlessFilled(adopted);
    }
    return { messages, queues };
  }

  /** Marks first, under the claim, so that at any moment there is one whole copy. */
  #giveBackFrom(folder: string, name: string, newName: string): void {
    const path = join(folder, name);
    if (statSync(path).size <= this.#maxBytes) {
      const marked = markedText(readFileSync(path, "utf8"));
      if (marked !== null) {
        writeFileSync(`${path}.marked`, marked);
        renameSync(`${path}.marked`, path);
      }
    }
    renameSync(path, join(this.#folders.dataIn, newName));
  }

  #onLostClaim(name: string, error: unknown): void {
    // taken for dead (a long stop on another host) or removed by hand: the message is somebody else's now
    this.#log.warn({ err: error, file: name }, "a claimed message file could not be settled");
  }
}

function markedText(text: string): string | null {
  try {
    return markRedelivered(text);
  } catch (error) {
    if (error instanceof ProtocolError) return null; // no envelope: given back as it is
    throw error;
  }
}

function readQueues(path: string): string[] {
  try {
    const names: unknown = JSON.parse(readFileSync(path, "utf8"));
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

function isRegularFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch (error) {
    if (["ENOENT", "ELOOP"].includes(errorCode(error) ?? "")) return false; // a link to nowhere
    throw error;
  }
}

/** Removes a file or whatever else has its name; of folders only empty ones. */
function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!["EISDIR", "EPERM"].includes(errorCode(error) ?? "")) throw error;
    rmdirSync(path);
  }
}

function removeUnlessFilled(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!["ENOENT", "ENOTEMPTY", "EEXIST"].includes(errorCode(error) ?? "")) throw error;
  }
}

function moveFile(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (errorCode(error) !== "EXDEV") throw error;
    copyFileSync(from, to);
    unlinkSync(from);
  }
}
