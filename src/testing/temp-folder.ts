/** Folders that vanish with the test that made them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that one test has for itself. */
export interface TempFolder extends AsyncDisposable {
  readonly path: string;
  /** A path inside it. */
  join(...parts: string[]): string;
}

/** Makes a folder below the system's temporary folder; disposal removes it with all it holds. */
export async function tempFolder(name = "test"): Promise<TempFolder> {
  const path = await mkdtemp(join(tmpdir(), `lovage-${name}-`));
  return {
    path,
    join: (...parts) => join(path, ...parts),
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
}
