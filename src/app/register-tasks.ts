/** The tasks of an app, of either protocol, by name. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { AnyTask } from "../tasks/definition.ts";
import { definition } from "./options.ts";

/** Adds to what the app knows. Throws `ImproperlyConfigured` for two different tasks of one name. */
export function registerTasks(known: Map<string, AnyTask>, given: readonly AnyTask[], appName: string): void {
  for (const one of given) {
    const task = definition(one, `app ${appName}: what it registers`);
    const before = known.get(task.name);
    if (before !== undefined && before !== task) {
      throw new ImproperlyConfigured(`two tasks are named ${JSON.stringify(task.name)}`);
    }
    known.set(task.name, task);
  }
}
