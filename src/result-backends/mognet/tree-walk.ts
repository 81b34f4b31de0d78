/** A result and its descendants, in batches, each id once: a circle of children ends, and memory holds the ids alone. */
import type { MognetStore, MognetTreeOptions } from "./mognet-store.ts";

const idsPerBatch = 500;

export async function* walkTree(
  store: Pick<MognetStore, "childIds">,
  id: string,
  { includeChildren = true }: MognetTreeOptions,
): AsyncIterable<readonly string[]> {
  if (!includeChildren) {
    yield [id];
    return;
  }
  const seen = new Set([id]);
  let level = [id];
  while (level.length > 0) {
    const next: string[] = [];
    for (let at = 0; at < level.length; at += idsPerBatch) {
      const batch = level.slice(at, at + idsPerBatch);
      // The children are read before the caller deletes what names them.
      for (const parent of batch) {
        for await (const child of store.childIds(parent)) {
          if (seen.has(child)) continue;
          seen.add(child);
          next.push(child);
        }
      }
      yield batch;
    }
    level = next;
  }
}
