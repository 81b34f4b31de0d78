/** The calls of a workflow that are made at once, checked like any other call: a caller's mistake is the caller's error. */
import { canvasType, headerOf, membersOf } from "../../protocol/celery/canvas/parts.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { checkArguments } from "../tasks/call-arguments.ts";
import type { AnyTask } from "../tasks/definition.ts";

/** What waits for the result of something else is left to the worker. A promise when a schema is asynchronous. */
export function checkCalls(
  signature: WireSignature,
  taskOf: (name: string) => AnyTask | null,
): Promise<unknown> | undefined {
  const pending: Promise<void>[] = [];
  visit(signature, taskOf, pending);
  return pending.length === 0 ? undefined : Promise.all(pending);
}

function visit(signature: WireSignature, taskOf: (name: string) => AnyTask | null, pending: Promise<void>[]): void {
  switch (canvasType(signature)) {
    case "chain": {
      const [first] = membersOf(signature);
      if (first !== undefined) visit(first, taskOf, pending);
      return;
    }
    case "group":
      for (const member of membersOf(signature)) visit(member, taskOf, pending);
      return;
    case "chord":
      // Arguments of the chord itself come in front of its header's.
      if (signature.args.length === 0) for (const member of headerOf(signature)) visit(member, taskOf, pending);
      return;
    default: {
      const task = taskOf(signature.task);
      const checked = task === null ? undefined : checkArguments(task, signature);
      if (checked !== undefined) pending.push(checked);
    }
  }
}
