/** How the tasks of a Mognet app make requests. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { didYouMean } from "../settings/suggest.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { MognetOutbox } from "../worker/mognet/parts.ts";
import type { Mognet } from "./mognet.ts";

export function requestsOf(app: Mognet): MognetOutbox["createRequest"] {
  return (task, args, options) =>
    typeof task === "string"
      ? app.createRequest(task, args as never, options)
      : app.createRequest(registered(app, task), args as never, options);
}

function registered(app: Mognet, { name }: { readonly name: string }): AnyTask {
  const task = app.tasks.get(name);
  if (task !== undefined) return task;
  const hint = didYouMean(name, app.tasks.keys());
  throw new ImproperlyConfigured(`task ${name} is not registered with app ${app.name}${hint}`);
}
