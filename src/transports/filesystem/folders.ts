/** The folders of one filesystem broker, and what is ours inside them. */
import { mkdirSync, readdirSync, statSync, unlinkSync } from "node:fs";
import { join, resolve } from "node:path";

export interface FolderOptions {
  /** Kombu's `data_folder_in`: messages are taken from here. */
  dataFolderIn: string;
  /** Kombu's `data_folder_out`: messages are put here. For clients and workers that share a broker it is the same folder. */
  dataFolderOut: string;
  /** Kombu's `control_folder`: the exchange files. */
  controlFolder: string;
  /** Kombu's `store_processed`: keep settled messages in `processedFolder`. @default false */
  storeProcessed?: boolean;
  /** Kombu's `processed_folder`. @default "processed" */
  processedFolder?: string;
}

/** Older than this, a file of a writer that died before its rename is removed. */
const abandonedMs = 600_000;

export class Folders {
  readonly dataIn: string;
  readonly dataOut: string;
  readonly control: string;
  readonly processed: string | null;
  /** Claimed messages, one folder per process. Kombu takes no interest in names that do not end in `.<queue>.msg`. */
  readonly claims: string;
  /** Files being written, on the file system of `dataOut`. */
  readonly temporary: string;

  constructor(options: FolderOptions) {
    this.dataIn = resolve(options.dataFolderIn);
    this.dataOut = resolve(options.dataFolderOut);
    this.control = resolve(options.controlFolder);
    this.processed = options.storeProcessed === true ? resolve(options.processedFolder ?? "processed") : null;
    this.claims = join(this.dataIn, ".lovage", "claims");
    this.temporary = join(this.dataOut, ".lovage", "writing");
  }

  /** Makes what is missing, for this user alone. Kombu makes only the control folder. */
  make(): void {
    for (const folder of [this.claims, this.temporary, this.control, this.processed]) {
      if (folder !== null) mkdirSync(folder, { recursive: true, mode: 0o700 });
    }
  }

  removeAbandoned(): void {
    for (const name of readdirSync(this.temporary)) {
      const path = join(this.temporary, name);
      try {
        if (Date.now() - statSync(path).mtimeMs > abandonedMs) unlinkSync(path);
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
  }
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}
