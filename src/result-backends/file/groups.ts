/** Groups by id in a result folder. wire: celery-wire 8.7; celery/backends/base.py `_save_group`. */
import type { ResultTuple } from "../../../protocol/celery/result-tuple.ts";
import { ImproperlyConfigured, ProtocolError } from "../../../protocol/errors.ts";
import type { GroupCodec, GroupStore } from "../chord-counter.ts";
import { BackendGetMetaError } from "../errors.ts";
import { readGroup } from "../group-values.ts";
import { openValue, sealValue, type ValueCompression } from "../stored-value.ts";
import type { RecordFiles } from "./record-files.ts";

export class FileGroups<R> implements GroupStore {
  readonly #files: RecordFiles<R>;
  readonly #codec: GroupCodec;
  readonly #compression: ValueCompression | undefined;

  constructor(files: RecordFiles<R>, codec: GroupCodec, compression: ValueCompression | undefined) {
    this.#files = files;
    this.#codec = codec;
    this.#compression = compression;
  }

  async save(group: ResultTuple): Promise<void> {
    const id = group[0][0];
    const value = sealValue(this.#codec.encode({ result: group }).body, this.#compression);
    attempt(id, () => this.#files.writeGroup(id, value, this.#codec));
  }

  async restore(groupId: string): Promise<ResultTuple | null> {
    const value = attempt(groupId, () => this.#files.readGroup(groupId, this.#codec));
    return value === null || value.length === 0
      ? null
      : readGroup(this.#codec.decode(openValue(value, this.#compression)));
  }

  async forget(groupId: string): Promise<void> {
    attempt(groupId, () => this.#files.removeGroup(groupId, this.#codec));
  }
}

function attempt<T>(groupId: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof ProtocolError || cause instanceof ImproperlyConfigured) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BackendGetMetaError(groupId, `the group ${groupId} is not to be had: ${reason}`, { cause });
  }
}
