/**
 * Tells of names that appear, change or go in one folder. It keeps itself alive: when the watch breaks, or the folder is
 * replaced by another, it starts again and says "anything may have changed". Where watching is impossible (no inotify
 * instances left, a file system without it) `watching` stays false and the owner looks by itself.
 *
 * Events are hints: they may be late, doubled or lost (inotify drops them when its queue is full), and on network file systems
 * only this machine's changes are seen. The watch never keeps the process alive.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { basename } from "node:path";

export interface FolderWatchOptions {
  /** A name appeared, changed or went; null: anything may have changed, look at all that matters. */
  onChange(name: string | null): void;
  /** The watch could not be started or broke; it is tried again. Called once per loss. */
  onTrouble?(error: Error): void;
  /** Also report writes into existing files, not only names that come and go. @default false */
  contents?: boolean;
  /** Milliseconds between attempts to start again. @default 1_000 */
  retryMs?: number;
}

export class FolderWatch {
  readonly folder: string;
  readonly #options: FolderWatchOptions;
  #watcher: FSWatcher | null = null;
  #inode = "";
  #retry: NodeJS.Timeout | null = null;
  #closed = false;
  #troubled = false;

  constructor(folder: string, options: FolderWatchOptions) {
    this.folder = folder;
    this.#options = options;
  }

  get watching(): boolean {
    return this.#watcher !== null;
  }

  start(): void {
    if (this.#closed || this.#watcher !== null) return;
    try {
      this.#inode = inodeOf(this.folder);
      const watcher = watch(this.folder, { persistent: false });
      watcher.on("change", this.#onEvent);
      watcher.on("error", this.#onError);
      this.#watcher = watcher;
      this.#troubled = false;
    } catch (error) {
      this.#restart(error);
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    this.#watcher?.close();
    this.#watcher = null;
  }

  readonly #onEvent = (kind: string, filename: string | Buffer | null): void => {
    const name = filename === null ? null : String(filename);
    // inotify reports the end of the folder itself under the folder's own name
    if (kind === "rename" && name === basename(this.folder) && !this.#isSameFolder()) {
      this.#restart(new FolderGone(this.folder));
      return;
    }
    if (kind === "rename" || this.#options.contents === true) this.#options.onChange(name);
  };

  readonly #onError = (error: Error): void => this.#restart(error);

  #isSameFolder(): boolean {
    try {
      return inodeOf(this.folder) === this.#inode;
    } catch {
      return false;
    }
  }

  #restart(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#closed) return;
    if (!this.#troubled) {
      this.#troubled = true;
      this.#options.onTrouble?.(error instanceof Error ? error : new FolderGone(this.folder));
    }
    if (this.#retry === null) {
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.start();
        if (this.#watcher !== null) this.#options.onChange(null);
      }, this.#options.retryMs ?? 1_000);
      this.#retry.unref();
    }
    this.#options.onChange(null);
  }
}

class FolderGone extends Error {
  constructor(folder: string) {
    super(`the watched folder ${folder} has gone`);
    this.name = "FolderGone";
  }
}

function inodeOf(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}
