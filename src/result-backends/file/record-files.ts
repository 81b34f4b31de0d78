/** The files of a result folder: one per record, named by its key. wire: celery-wire 8.7; celery/backends/filesystem.py. */
import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { readdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { ImproperlyConfigured, ProtocolError } from "../../../protocol/errors.ts";
import type { GroupCodec } from "../chord-counter.ts";
import type { ValueCodec } from "../stored-value.ts";

const ownFolder = ".lovage";
const longestName = 255;
let temporaryNames = 0;

/** The id makes no file name. */
class UnusableName extends ImproperlyConfigured {}

export class RecordFiles<R> {
  readonly directory: string;
  readonly #values: ValueCodec<R>;

  constructor(directory: string, values: ValueCodec<R>) {
    this.directory = directory;
    this.#values = values;
  }

  /** Throws `UnusableName`. */
  fileName(id: string): string {
    return fileNameOf(this.#values.codec.key(id), id);
  }

  #path(id: string): string {
    return join(this.directory, this.fileName(id));
  }

  #groupPath(id: string, group: GroupCodec): string {
    return join(this.directory, fileNameOf(group.key(id), id));
  }

  /** Null: no such group. */
  readGroup(id: string, group: GroupCodec): Uint8Array | null {
    return readOrNull(this.#groupPath(id, group));
  }

  writeGroup(id: string, value: Uint8Array, group: GroupCodec): void {
    this.#replace(this.#groupPath(id, group), value);
  }

  removeGroup(id: string, group: GroupCodec): void {
    removeIfThere(this.#groupPath(id, group));
  }

  makeFolders(): void {
    mkdirSync(join(this.directory, ownFolder), { recursive: true, mode: 0o700 });
  }

  /** Null: no such file. */
  read(id: string): Uint8Array | null {
    return readOrNull(this.#path(id));
  }

  /** Writes a record whole, unless a final one is there. */
  write(id: string, record: R): void {
    const path = this.#path(id);
    const value = this.#values.encode(id, record);
    const stored = this.read(id);
    if (stored !== null && stored.length > 0 && this.#values.isFinal(id, stored)) return;
    this.#replace(path, value);
  }

  /** Nobody meets a part of it. */
  #replace(path: string, value: Uint8Array): void {
    const temporary = join(
      this.directory,
      ownFolder,
      `${process.pid}-${process.hrtime.bigint()}-${++temporaryNames}.tmp`,
    );
    try {
      writeFileSync(temporary, value, { flag: "wx" });
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      this.makeFolders();
      writeFileSync(temporary, value, { flag: "wx" });
    }
    renameSync(temporary, path);
  }

  remove(id: string): void {
    removeIfThere(this.#path(id));
  }

  /** Removes records last written more than `expires` seconds ago, and what a writer left that died before it renamed. */
  async cleanup(expires: number, prefixes: readonly string[] = keyPrefixes(this.#values.codec)): Promise<number> {
    const matches = (name: string) => prefixes.some((prefix) => name.startsWith(prefix));
    const removed = await removeOlder(this.directory, Date.now() - expires * 1000, matches);
    const abandoned = join(this.directory, ownFolder);
    return removed + (await removeOlder(abandoned, Date.now() - 3_600_000, (name) => name.endsWith(".tmp")));
  }
}

/** The disk is full, unmounted, busy or out of handles: it may be better later. Our own errors and refusals are not. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ProtocolError || error instanceof ImproperlyConfigured) return false;
  const code = codeOf(error);
  return (
    code !== undefined && /^E[A-Z0-9]+$/.test(code) && !isRefusal(error) && !["ENAMETOOLONG", "EISDIR"].includes(code)
  );
}

/** Rights, not circumstances. */
export function isRefusal(error: unknown): boolean {
  return ["EACCES", "EPERM", "EROFS"].includes(codeOf(error) ?? "");
}

function keyPrefixes(codec: { key(id: string): string; group?: GroupCodec }): string[] {
  const keys = [codec.key("-"), ...(codec.group === undefined ? [] : [codec.group.key("-")])];
  return keys.map((key) => key.slice(0, -1)); // a codec may refuse an empty id
}

function fileNameOf(key: string, id: string): string {
  // Python would follow a path out of the folder; we do not
  if (/[/\\\0]/.test(key) || key === "." || key === "..") {
    throw new UnusableName(`the task id ${JSON.stringify(id)} cannot be a file name`);
  }
  if (Buffer.byteLength(key) > longestName) throw new UnusableName("the task id is too long for a file name");
  return key;
}

function readOrNull(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

async function removeOlder(folder: string, beforeMs: number, matches: (name: string) => boolean): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder)) {
    if (!matches(name)) continue;
    const path = join(folder, name);
    try {
      if ((await stat(path)).mtimeMs >= beforeMs) continue;
      await unlink(path);
      removed++;
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error; // another process cleans up too
    }
  }
  return removed;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}
