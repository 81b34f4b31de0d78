/**
 * Kombu's exchange files: who is bound to which exchange. wire: celery-wire 7.1; kombu/transport/filesystem.py `_queue_bind`,
 * `get_table`, `_delete`.
 *
 * A table is rewritten in place under Python's lock (replacing the file would take it from under a waiting Python). A new one
 * comes into being whole, by link. Python's own first binder empties the file before it locks it, and so may wipe out a binding
 * made in that instant: `ensure` is called again and again by the transport for what it declared. Where there is no `flock`
 * program the table is rewritten without a lock and looked at again twice.
 */
import {
  closeSync,
  ftruncateSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { DecodeError } from "../../../protocol/errors.ts";
import {
  exchangeFileName,
  readExchangeTable,
  withBinding,
  withoutBinding,
  writeExchangeTable,
} from "../../../protocol/kombu/filesystem-names.ts";
import type { Binding } from "../../../protocol/routing.ts";
import { pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import { TransportError } from "../errors.ts";
import { lockFile } from "./file-lock.ts";
import { errorCode } from "./folders.ts";

interface Cached {
  /** Inode, size and times of the file when it was read. */
  stamp: string;
  table: readonly Binding[];
}

type Change = (table: readonly Binding[]) => readonly Binding[];

const suffix = ".exchange";
/** How long a file may be unreadable because somebody is writing it. */
const unreadableMs = 2_000;
/** File times tick every few milliseconds: a table read sooner after its last change may change again unseen. */
const settledMs = 50;

export class ExchangeTables {
  readonly #folder: string;
  readonly #log: Log;
  readonly #cache = new Map<string, Cached>();
  /** Changes of one process come one after the other. */
  #changes: Promise<unknown> = Promise.resolve();
  #temporaryNames = 0;

  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  /** The bindings of an exchange, newest first; none when it has no file. */
  async read(exchange: string): Promise<readonly Binding[]> {
    const path = this.#path(exchange);
    for (const began = performance.now(); ; await pause(3)) {
      try {
        return this.#readNow(path);
      } catch (error) {
        // no lock is taken for reading: the file may be half written
        if (error instanceof DecodeError && performance.now() - began < unreadableMs) continue;
        throw error;
      }
    }
  }

  /** Makes these bindings exist. Quick when they do. */
  ensure(exchange: string, bindings: readonly Binding[]): Promise<void> {
    return this.#change(exchange, (table) => bindings.reduceRight<readonly Binding[]>(withBinding, table));
  }

  /** Takes every binding of `queue` out of every exchange. */
  async removeQueue(queue: string): Promise<void> {
    for (const name of readdirSync(this.#folder)) {
      if (!name.endsWith(suffix)) continue;
      await this.#change(name.slice(0, -suffix.length), (table) =>
        table.filter((binding) => binding.queue === queue).reduce<readonly Binding[]>(withoutBinding, table),
      );
    }
  }

  #path(exchange: string): string {
    return join(this.#folder, exchangeFileName(exchange));
  }

  #readNow(path: string): readonly Binding[] {
    let stamp: string;
    let changedMs: number;
    try {
      const stats = statSync(path);
      stamp = `${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`;
      changedMs = stats.mtimeMs;
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      return [];
    }
    const cached = this.#cache.get(path);
    if (cached?.stamp === stamp) return cached.table;
    const table = readExchangeTable(readFileSync(path, "utf8"));
    if (Date.now() - changedMs > settledMs) this.#cache.set(path, { stamp, table });
    return table;
  }

  #change(exchange: string, change: Change): Promise<void> {
    const path = this.#path(exchange);
    const run = this.#changes.then(async () => {
      const table = await this.read(exchange).catch((error: unknown) => {
        if (error instanceof DecodeError) return null; // damaged: put right under the lock
        throw error;
      });
      if (table !== null && change(table) === table) return;
      await this.#rewrite(path, change);
    });
    this.#changes = run.catch(() => undefined);
    return run;
  }

  async #rewrite(path: string, change: Change): Promise<void> {
    const began = performance.now();
    for (;;) {
      if (this.#create(path, change)) return;
      const lock = await lockFile(path);
      let emptied: boolean;
      try {
        // empty: a Python stands between emptying the file and writing its own binding
        emptied = readFileSync(path, "utf8") === "" && performance.now() - began < unreadableMs;
        if (!emptied) this.#rewriteNow(path, change);
      } finally {
        await lock?.release();
      }
      if (emptied) {
        await pause(3);
        continue;
      }
      if (lock !== null || (await this.#holds(path, change))) return;
      if (performance.now() - began > 10_000) {
        throw new TransportError("EXCHANGE_TABLE", `the exchange file ${path} is changed by others all the time`, {
          retryable: true,
        });
      }
      await pause(5 + Math.random() * 20);
    }
  }

  /** Without a lock: is our change still there a little later? */
  async #holds(path: string, change: Change): Promise<boolean> {
    for (let look = 0; look < 2; look++) {
      await pause(15);
      const table = this.#readNow(path);
      if (change(table) !== table) return false;
    }
    return true;
  }

  /** True when there was no file and now there is a whole one. */
  #create(path: string, change: Change): boolean {
    const table = change([]);
    if (table.length === 0) return false;
    const temporary = join(this.#folder, `.lovage-${process.pid}-${process.hrtime.bigint()}-${++this.#temporaryNames}`);
    try {
      statSync(path);
      return false;
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
    }
    writeFileSync(temporary, writeExchangeTable(table), { flag: "wx" });
    try {
      linkSync(temporary, path);
      return true;
    } catch (error) {
      if (errorCode(error) === "EEXIST") return false;
      throw error;
    } finally {
      unlinkSync(temporary);
    }
  }

  #rewriteNow(path: string, change: Change): void {
    const file = openSync(path, "r+");
    try {
      const text = readFileSync(file, "utf8");
      const [table, damaged] = this.#salvage(path, text);
      const next = change(table);
      if (next === table && !damaged) return;
      const bytes = Buffer.from(writeExchangeTable(next));
      writeSync(file, bytes, 0, bytes.length, 0);
      if (bytes.length < Buffer.byteLength(text)) ftruncateSync(file, bytes.length);
    } finally {
      closeSync(file);
    }
  }

  /**
   * Two Pythons that bind first in one instant leave the shorter table on top of the rest of the longer one, which no Python
   * can read again. What stands in front is whole.
   */
  #salvage(path: string, text: string): [table: readonly Binding[], damaged: boolean] {
    try {
      return [readExchangeTable(text), false];
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#log.warn({ path }, "a damaged exchange file is put right");
      const end = text.indexOf("]]");
      try {
        return [end < 0 ? [] : readExchangeTable(text.slice(0, end + 2)), true];
      } catch (again) {
        if (!(again instanceof DecodeError)) throw again;
        return [[], true];
      }
    }
  }
}
