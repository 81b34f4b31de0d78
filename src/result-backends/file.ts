/**
 * Celery's file-system result backend: one file per record in one folder, the name is the key and the content the encoded
 * bytes, so Python and Lovage read each other's results. wire: celery-wire 8.7; celery/backends/filesystem.py.
 *
 * Python overwrites in place, so a reader may meet an empty or partial file: it is read again. We write beside (in `.lovage/`
 * of the folder, which Python never looks into) and rename, so nobody meets a partial file of ours. Two processes that store
 * for one task in the same instant may still overtake each other, as in Python: there is no lock.
 *
 * Waiting: one `fs.watch` for all, each awaited file is read once after it was subscribed, and a slow re-check of the awaited
 * files finds what events missed. Where the folder cannot be watched the same re-check runs fast.
 */
import { resolve } from "node:path";
import { ImproperlyConfigured, ProtocolError } from "../../protocol/errors.ts";
import { backoffMs, pause } from "../runtime/backoff.ts";
import { FolderWatch } from "../runtime/folder-watch.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import type { GroupStore } from "./chord-counter.ts";
import { BackendGetMetaError, BackendStoreError } from "./errors.ts";
import { FileGroups } from "./file/groups.ts";
import { isPassing, isRefusal, RecordFiles } from "./file/record-files.ts";
import type { RecordCodec, ResultBackend, WatchOptions } from "./result-backend.ts";
import { ValueCodec, type ValueCompression } from "./stored-value.ts";
import { Waits } from "./waits.ts";

export interface FileBackendOptions<R> {
  codec: RecordCodec<R>;
  /** `file:///absolute`, `file://localhost/absolute` or `file://relative/to/the/working/folder`. Either this or `directory`. */
  url?: string;
  directory?: string;
  log?: Log;
  /** Celery's `result_compression`, and how compressed values of peers are read. */
  compression?: ValueCompression;
  /** False where the system does not tell of other machines' changes (NFS and the like): look every `pollMs`. @default true */
  events?: boolean;
  /** Milliseconds between looks at awaited files, in case an event was lost. @default 2_000 */
  recheckMs?: number;
  /** The same where the folder cannot be watched. @default 100 */
  pollMs?: number;
}

export interface FileBackend<R> extends ResultBackend<R> {
  readonly directory: string;
  /** Stores that wait for the folder to become writable again. */
  readonly pending: number;
  /** Task ids that are waited for. */
  readonly waiting: number;
  /**
   * Removes records last written more than `expires` seconds ago and says how many (Celery's `backend_cleanup`; nothing else
   * expires here). `prefixes` are beginnings of keys. @default those of the codec's task and group keys
   */
  cleanup(expires: number, prefixes?: readonly string[]): Promise<number>;
}

/** The folder of a `file://` URL, by Celery's rules: no percent-decoding, and without a leading slash it is relative. */
export function parseFileUrl(url: string): string {
  const path = url.startsWith("file://localhost/") ? url.slice(16) : url.startsWith("file://") ? url.slice(7) : null;
  if (path === null) throw new ImproperlyConfigured(`a file result backend is named by a file:// URL, not by ${url}`);
  if (path === "") throw new ImproperlyConfigured("the file:// URL of the result backend names no folder");
  return path;
}

/** How long a file that cannot be decoded may still be one that Python is writing. */
const unreadableMs = 2_000;
const readsPerTurn = 256;

interface PendingStore<R> {
  id: string;
  record: R;
  resolve: () => void;
  reject: (reason: unknown) => void;
}

class FileResultBackend<R> implements FileBackend<R> {
  readonly name = "file";
  readonly can = { sharedReads: true, persistent: true };
  readonly groups?: GroupStore;
  readonly directory: string;
  readonly #values: ValueCodec<R>;
  readonly #files: RecordFiles<R>;
  readonly #log: Log;
  readonly #events: boolean;
  readonly #recheckMs: number;
  readonly #pollMs: number;
  readonly #waits: Waits<R>;
  /** File name to id of the awaited records. */
  readonly #awaited = new Map<string, string>();
  readonly #watch: FolderWatch;
  /** Ids to be read in the coming turn. */
  readonly #dirty = new Set<string>();
  #turn: NodeJS.Immediate | null = null;
  /** Ids whose file could not be decoded, and since when. */
  readonly #unreadable = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;
  readonly #stores: PendingStore<R>[] = [];
  #storeRetry: NodeJS.Timeout | null = null;
  #attempt = 0;
  #closed = false;

  constructor(options: FileBackendOptions<R>) {
    const path = options.directory ?? (options.url === undefined ? undefined : parseFileUrl(options.url));
    if (path === undefined)
      throw new ImproperlyConfigured("the file result backend needs a directory or a file:// URL");
    this.directory = resolve(path);
    this.#values = new ValueCodec(options.codec, options.compression);
    this.#files = new RecordFiles(this.directory, this.#values);
    const { group } = options.codec;
    if (group !== undefined) this.groups = new FileGroups(this.#files, group, options.compression);
    this.#log = options.log ?? silentLog;
    this.#events = options.events ?? true;
    this.#recheckMs = options.recheckMs ?? 2_000;
    this.#pollMs = options.pollMs ?? 100;
    this.#waits = new Waits({
      isReady: (record) => options.codec.isReady(record),
      onIdle: (id) => this.#stopAwaiting(id),
    });
    this.#watch = new FolderWatch(this.directory, {
      contents: true,
      onChange: (name) => this.#onChange(name),
      onTrouble: (error) =>
        this.#log.debug(
          { err: error, folder: this.directory },
          "the result folder is not watched; looking at it instead",
        ),
    });
    try {
      this.#files.makeFolders();
    } catch (error) {
      if (isRefusal(error)) {
        throw new ImproperlyConfigured(`the result folder ${this.directory} cannot be used: ${text(error)}`, {
          cause: error,
        });
      }
      this.#log.warn({ err: error, folder: this.directory }, "the result folder is not there yet");
    }
  }

  get pending(): number {
    return this.#stores.length;
  }

  get waiting(): number {
    return this.#waits.size;
  }

  async replyTo(): Promise<string> {
    return "";
  }

  store(id: string, record: R): Promise<void> {
    if (this.#closed) return Promise.reject(new BackendStoreError(id, "the result backend is closed"));
    if (this.#stores.length === 0) {
      try {
        this.#files.write(id, record);
        return Promise.resolve();
      } catch (error) {
        if (!isPassing(error)) return Promise.reject(this.#refused(id, error));
        this.#log.warn(
          { err: error, folder: this.directory, taskId: id },
          "a result cannot be stored yet; trying again",
        );
      }
    }
    return new Promise((done, reject) => {
      this.#stores.push({ id, record, resolve: done, reject });
      this.#retryStores();
    });
  }

  async get(id: string, { exactly }: { exactly?: boolean } = {}): Promise<R | null> {
    for (let waited = 0, delayMs = 4; ; waited += delayMs, delayMs = Math.min(100, delayMs * 2)) {
      if (this.#closed) throw new BackendGetMetaError(id, "the result backend is closed", { retryable: false });
      const value = this.#readNow(id);
      if (value === null) return null;
      if (value.length > 0) {
        try {
          return this.#values.decode(id, value, exactly);
        } catch (error) {
          if (!(error instanceof ProtocolError) || error.code !== "DECODE" || waited > unreadableMs / 2) throw error;
        }
      } else if (waited > 100) {
        return null; // emptied by a writer that died before it wrote
      }
      await pause(delayMs);
    }
  }

  watch(id: string, options: WatchOptions<R>): Promise<R> {
    let name: string;
    try {
      name = this.#files.fileName(id);
    } catch (error) {
      return Promise.reject(readError(id, error));
    }
    const wait = this.#waits.add(id, options);
    if (!this.#waits.has(id)) return wait;
    if (this.#closed) {
      this.#waits.close();
      return wait;
    }
    this.#awaited.set(name, id);
    if (this.#events) this.#watch.start();
    this.#armTimer();
    this.#lookAt(id);
    return wait;
  }

  async forget(id: string): Promise<void> {
    try {
      this.#files.remove(id);
    } catch (error) {
      throw readError(id, error);
    }
  }

  cleanup(expires: number, prefixes?: readonly string[]): Promise<number> {
    return this.#files.cleanup(expires, prefixes);
  }

  outage(): Error | null {
    return this.#waits.outage;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch.close();
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#storeRetry !== null) clearTimeout(this.#storeRetry);
    this.#waits.close();
    for (const store of this.#stores.splice(0)) {
      store.reject(
        new BackendStoreError(store.id, "the result backend was closed before the result was stored", {
          retryable: true,
        }),
      );
    }
  }

  // ------------------------------------------------------------------------------------------------------------ storing

  #readNow(id: string): Uint8Array | null {
    try {
      return this.#files.read(id);
    } catch (error) {
      throw readError(id, error);
    }
  }

  #refused(id: string, error: unknown): unknown {
    if (error instanceof ProtocolError) return error;
    return new BackendStoreError(id, `cannot store the result of ${id}: ${text(error)}`, { cause: error });
  }

  #retryStores(): void {
    if (this.#storeRetry !== null || this.#stores.length === 0 || this.#closed) return;
    this.#storeRetry = setTimeout(() => {
      this.#storeRetry = null;
      for (let first = this.#stores[0]; first !== undefined; first = this.#stores[0]) {
        try {
          this.#files.write(first.id, first.record);
          first.resolve();
        } catch (error) {
          if (isPassing(error)) break;
          first.reject(this.#refused(first.id, error));
        }
        this.#attempt = 0;
        this.#stores.shift();
      }
      this.#attempt++;
      this.#retryStores();
    }, backoffMs(this.#attempt));
  }

  // ---------------------------------------------------------------------------------------------------------- waiting

  #stopAwaiting(id: string): void {
    this.#unreadable.delete(id);
    this.#dirty.delete(id);
    this.#awaited.delete(this.#files.fileName(id));
    if (this.#awaited.size === 0 && this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  #onChange(name: string | null): void {
    if (name === null) {
      for (const id of this.#awaited.values()) this.#lookAt(id);
      return;
    }
    const id = this.#awaited.get(name);
    if (id !== undefined) this.#lookAt(id);
  }

  #lookAt(id: string): void {
    this.#dirty.add(id);
    this.#turn ??= setImmediate(this.#look);
  }

  readonly #look = (): void => {
    this.#turn = null;
    let left = readsPerTurn;
    for (const id of this.#dirty) {
      if (left-- === 0) {
        this.#turn = setImmediate(this.#look);
        return;
      }
      this.#dirty.delete(id);
      this.#readAwaited(id);
    }
  };

  #readAwaited(id: string): void {
    let value: Uint8Array | null;
    try {
      value = this.#files.read(id);
    } catch (error) {
      this.#waits.storeIsAway(error);
      return;
    }
    this.#waits.storeIsBack();
    if (value === null || value.length === 0) return;
    let record: R;
    try {
      record = this.#values.decode(id, value);
    } catch (error) {
      const now = performance.now();
      const since = this.#unreadable.get(id) ?? now;
      const damaged = !(error instanceof ProtocolError) || error.code !== "DECODE" || now - since > unreadableMs;
      if (damaged) {
        this.#waits.fail(id, error);
      } else {
        this.#unreadable.set(id, since);
        this.#armTimer(10);
      }
      return;
    }
    this.#unreadable.delete(id);
    this.#waits.offer(id, record, value);
  }

  /** Runs only while something is awaited, and is what keeps the process alive then. */
  #armTimer(soonMs?: number): void {
    if (soonMs !== undefined && this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    if (this.#timer !== null || this.#awaited.size === 0 || this.#closed) return;
    const delayMs = soonMs ?? (this.#watch.watching ? this.#recheckMs : this.#pollMs);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (soonMs === undefined) this.#onChange(null);
      else for (const id of this.#unreadable.keys()) this.#lookAt(id);
      this.#armTimer();
    }, delayMs);
  }
}

export function createFileBackend<R>(options: FileBackendOptions<R>): FileBackend<R> {
  return new FileResultBackend(options);
}

function readError(id: string, cause: unknown): BackendGetMetaError {
  const retryable = !(cause instanceof ImproperlyConfigured);
  return new BackendGetMetaError(id, `cannot read the result of ${id}: ${text(cause)}`, { cause, retryable });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
