/**
 * What a worker remembers over restarts (`--statedb`): the ids and stamps revoked, and its logical clock. Celery keeps ids and clock in a
 * shelve, which only Python reads; this is one JSON file, written anew beside the old one and put in its place.
 * wire: celery/worker/state.py `Persistent`.
 */
import { accessSync, constants, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { isRecord } from "../../../protocol/records.ts";
import type { Log } from "../../runtime/log.ts";
import type { TimerEntry, TimerHeap } from "../../runtime/timer-heap.ts";
import type { RevokedIds } from "./revoked-ids.ts";

/** The logical clock, as far as it is kept. */
export interface KeptClock {
  readonly value: number;
  adjust(other: number): number;
}

export interface StateDbParts {
  path: string;
  ids: RevokedIds;
  /** Stamps, as `revoked-stamps.ts` writes them. */
  stamps: RevokedIds;
  clock: KeptClock | null;
  timers: TimerHeap;
  log: Log;
}

/** A change is written so soon: a worker that is killed forgets little. */
const SAVE_AFTER_MS = 1_000;

export class StateDb {
  readonly #parts: StateDbParts;
  #due: TimerEntry | null = null;
  /** A file that could not be read as ours is not written over. */
  #loaded = false;
  /** Which file it was that we wrote or read last: another one there is another worker's. */
  #known = "";

  constructor(parts: StateDbParts) {
    this.#parts = parts;
  }

  /** Merges what the file says, if there is one. Throws `ImproperlyConfigured` for a file of something else. */
  load(): void {
    const { path } = this.#parts;
    let text: string | null;
    try {
      const found = statSync(path, { throwIfNoEntry: false });
      // What is written later is put there as a new file.
      accessSync(dirname(path), constants.W_OK);
      if (found !== undefined && !found.isFile()) throw new ImproperlyConfigured(`${path} is no file`);
      text = found === undefined ? null : readFileSync(path, "utf8");
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : null;
      if (code === "ENOENT" || code === "EACCES" || code === "EROFS") {
        const words = `the state of the worker cannot be kept in ${path} (${code}): name a file in a folder that can be written to`;
        throw new ImproperlyConfigured(words, { cause: error });
      }
      throw new ImproperlyConfigured(`the state of the worker cannot be read from ${path}`, { cause: error });
    }
    if (text === null) {
      this.#loaded = true;
      return;
    }
    const saved = parsed(text);
    if (saved === null) {
      throw new ImproperlyConfigured(
        `${path} is no state of a lovage worker; Celery's own cannot be read here: name another file`,
      );
    }
    this.#loaded = true;
    this.#known = versionOf(path);
    this.#merge(saved);
  }

  #merge(saved: Saved): void {
    const { ids, stamps, clock } = this.#parts;
    mergeAges(ids, saved.revoked);
    mergeAges(stamps, saved.stamps);
    clock?.adjust(saved.clock);
  }

  /** What another worker that was given the same file has written since is kept too. */
  #hear(): void {
    const { path, log } = this.#parts;
    try {
      const version = versionOf(path);
      if (version === this.#known || version === "") return;
      const saved = parsed(readFileSync(path, "utf8"));
      if (saved !== null) this.#merge(saved);
    } catch (error) {
      log.warn({ err: error, path }, "what stands in the file of the worker's state could not be read");
    }
  }

  /** Something is to be kept. */
  changed(): void {
    this.#due ??= this.#parts.timers.after(SAVE_AFTER_MS, () => {
      this.#due = null;
      this.save();
    });
  }

  /** Writes now. A disk that does not take it is logged. */
  save(): void {
    const { path, ids, stamps, clock, log, timers } = this.#parts;
    if (this.#due !== null) timers.cancel(this.#due);
    this.#due = null;
    if (!this.#loaded) return;
    this.#hear();
    const kept = { clock: clock?.value ?? 0, revoked: ids.entries(), stamps: stamps.entries() };
    const state = { lovage: "worker state", version: 1, ...kept };
    const fresh = `${path}.${process.pid}.new`;
    try {
      writeFileSync(fresh, `${JSON.stringify(state)}\n`);
      renameSync(fresh, path);
      this.#known = versionOf(path);
    } catch (error) {
      log.error({ err: error, path }, "the state of the worker could not be saved");
    }
  }
}

interface Saved {
  clock: number;
  revoked: [string, number][];
  stamps: [string, number][];
}

/** Oldest first, each with the time of its latest revocation. */
function mergeAges(known: RevokedIds, saved: readonly [string, number][]): void {
  const now = Date.now();
  const all = new Map(known.entries());
  for (const [id, atMs] of saved) all.set(id, Math.max(all.get(id) ?? 0, Math.min(atMs, now)));
  for (const [id, atMs] of [...all].sort((a, b) => a[1] - b[1])) known.add(id, atMs);
  known.purge();
}

/** Which file stands there: each is written anew. */
function versionOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.ino} ${found.mtimeMs} ${found.size}`;
}

function parsed(text: string): Saved | null {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(state) || state.lovage !== "worker state" || !Array.isArray(state.revoked)) return null;
  const clock = typeof state.clock === "number" ? state.clock : 0;
  return { clock, revoked: agesOf(state.revoked), stamps: agesOf(state.stamps) };
}

/** What is none is left out. */
function agesOf(list: unknown): [string, number][] {
  const ages: [string, number][] = [];
  if (!Array.isArray(list)) return ages;
  for (const entry of list as unknown[]) {
    if (!Array.isArray(entry)) continue;
    const [id, atMs]: unknown[] = entry;
    if (typeof id === "string" && typeof atMs === "number") ages.push([id, atMs]);
  }
  return ages;
}
