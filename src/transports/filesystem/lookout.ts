/**
 * Looks at the message folder, and after the other processes that use it. The folder tells of new files by itself; a slow look finds
 * those of lost events, a quick one serves where there are no events. Every few seconds what dead processes held is given back.
 */
import { readdir } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { FolderWatch } from "../../runtime/folder-watch.ts";
import type { Log } from "../../runtime/log.ts";
import { errorCode, type Folders } from "./folders.ts";
import type { Intake } from "./intake.ts";
import type { MessageFiles } from "./message-files.ts";
import { heartbeatMs } from "./owner.ts";
import type { PendingNames } from "./pending-names.ts";
import type { Routes } from "./routes.ts";

export interface LookoutParts {
  folders: Folders;
  files: MessageFiles;
  pending: PendingNames;
  intake: Intake;
  routes: Routes;
  /** Between looks where the folder does not tell of new files. */
  pollMs: number;
  isConnected: () => boolean;
  /** A dead process left a queue that ends with it. */
  removeQueue: (queue: string) => Promise<void>;
  log: Log;
}

/** Between looks at a folder that tells of new files by itself, and at what dead processes left. */
const safetyMs = 5_000;

export class Lookout {
  readonly #parts: LookoutParts;
  readonly #watch: FolderWatch;
  #timer: NodeJS.Timeout | null = null;
  #listing: Promise<void> | null = null;
  /** Files were found that the folder did not tell of: look often. */
  #distrusted = false;
  #lastHeartbeat = 0;
  #lastRecovery = 0;

  constructor(parts: LookoutParts) {
    this.#parts = parts;
    this.#watch = new FolderWatch(parts.folders.dataIn, {
      onChange: (name) => {
        if (name === null) this.tend(0);
        else parts.intake.appeared(name);
      },
      onTrouble: (error) => parts.log.debug({ err: error }, "the message folder is not watched; looking at it instead"),
    });
  }

  /** From now on the folder tells. Resolves when it has been listed since; what events tell meanwhile is kept. */
  async begin(): Promise<void> {
    // before the listing, so that no file falls between
    this.#watch.start();
    // a listing that runs may have begun before what is looked for now was known
    while (this.#listing !== null) await this.#listing;
    await this.#list();
    this.tend();
  }

  /** Plans the next look. While something is consumed it keeps the process alive. */
  tend(soonMs?: number): void {
    const { intake, pollMs, isConnected } = this.#parts;
    if (!isConnected()) return;
    const looking = intake.busy;
    const quick = looking && (!this.#watch.watching || this.#distrusted);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), soonMs ?? (quick ? Math.min(pollMs, safetyMs) : safetyMs));
    if (!looking) this.#timer.unref();
  }

  /** Gives back what dead processes held. */
  async recover(): Promise<void> {
    const { files, removeQueue, log } = this.#parts;
    this.#lastRecovery = performance.now();
    try {
      const { messages, queues } = files.recover();
      if (messages > 0) log.info({ messages }, "messages that a dead process held are back in their queues");
      for (const queue of queues) await removeQueue(queue);
    } catch (error) {
      log.warn({ err: error }, "what dead processes held cannot be given back yet");
    }
  }

  close(): void {
    this.#watch.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #list(): Promise<void> {
    this.#listing ??= this.#listNow().finally(() => {
      this.#listing = null;
    });
    return this.#listing;
  }

  async #listNow(): Promise<void> {
    const { folders, files, pending, intake, isConnected, log } = this.#parts;
    pending.beginListing();
    intake.forgetGone();
    let names: string[] = [];
    try {
      names = await readdir(folders.dataIn);
    } catch (error) {
      if (errorCode(error) !== "ENOENT" || !isConnected()) throw error;
      folders.make();
      files.makeOwner();
    }
    // events of files in the listing may be on their way: let them come in first
    await nextTurn();
    await nextTurn();
    const known = pending.listed && !pending.short;
    const unknown = pending.endListing(names);
    if (known && unknown > 0 && this.#watch.watching && !this.#distrusted) {
      this.#distrusted = true;
      log.debug({ unknown }, "files appeared without an event (a network file system?); looking often");
    }
    intake.wake();
  }

  async #look(): Promise<void> {
    const { files, intake, routes, isConnected, log } = this.#parts;
    try {
      const now = performance.now();
      if (now - this.#lastHeartbeat > heartbeatMs) {
        this.#lastHeartbeat = now;
        files.heartbeat();
      }
      if (intake.busy) await this.#list();
      await routes.ensure();
      if (performance.now() - this.#lastRecovery >= safetyMs) await this.recover();
    } catch (error) {
      if (isConnected()) log.warn({ err: error }, "the folders of the filesystem broker cannot be looked at");
    }
    this.tend();
  }
}
