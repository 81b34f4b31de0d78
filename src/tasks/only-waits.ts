/**
 * Tasks whose body does nothing but wait for the end of another task, as bridges do. They take no slot from those that work: where one
 * worker serves a bridge and what is behind it, they would keep it from what they wait for.
 */
import type { AnyTask } from "./definition.ts";

const handlers = new WeakSet<object>();

/** Marks the definition, and all that are made of it. */
export function onlyWaiting<Task extends AnyTask>(task: Task): Task {
  if (task.handler !== null) handlers.add(task.handler);
  return task;
}

export function onlyWaits({ handler }: AnyTask): boolean {
  return handler !== null && handlers.has(handler);
}
