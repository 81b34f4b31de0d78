/** How much memory a child uses. */
import { getHeapStatistics } from "node:v8";
import { isMainThread } from "node:worker_threads";

/** What a process uses, as Celery measures it; of a thread what is its own: its heap and the buffers that hang from it. */
export function usedKib(): number {
  if (isMainThread) return Math.ceil(process.memoryUsage.rss() / 1024);
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return Math.ceil((heap + external) / 1024);
}
