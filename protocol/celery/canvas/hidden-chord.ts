/**
 * Chords that begin only when a task has ended: those in its callbacks and errbacks, however deep. Celery finds out where the task
 * runs; a result backend that refuses chords can be known to refuse before anything is sent. What comes from a message is not looked
 * at: an errback that is never needed must not keep a chain from going on.
 */
import { isRecord } from "../../records.ts";

/** Whether `link` or `link_error` of these options, or of the steps in `chain`, hold a chord or what becomes one. */
export function linksHideChord({ link, link_error, chain }: Readonly<Record<string, unknown>>): boolean {
  if (!link && !link_error && !chain) return false;
  const waiting: unknown[] = [link, link_error, chain];
  for (let next = waiting.pop(); next !== undefined || waiting.length > 0; next = waiting.pop()) {
    if (Array.isArray(next)) for (const one of next) waiting.push(one);
    else if (isRecord(next) && isChord(next, waiting)) return true;
  }
  return false;
}

/** What the signature is made of, and what is linked to it, is looked at later. */
function isChord({ subtask_type: kind, kwargs, options }: Record<string, unknown>, later: unknown[]): boolean {
  if (kind === "chord") return true;
  if (isRecord(options)) later.push(options.link, options.link_error);
  if ((kind !== "chain" && kind !== "group") || !isRecord(kwargs) || !Array.isArray(kwargs.tasks)) return false;
  const { tasks } = kwargs;
  for (const task of tasks) later.push(task);
  // A group that something follows becomes a chord.
  return kind === "chain" && tasks.slice(0, -1).some((task) => isRecord(task) && isWideGroup(task));
}

function isWideGroup({ subtask_type: kind, kwargs }: Record<string, unknown>): boolean {
  return kind === "group" && isRecord(kwargs) && Array.isArray(kwargs.tasks) && kwargs.tasks.length > 1;
}
