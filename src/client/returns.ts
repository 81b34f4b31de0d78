/** Which of a workflow's results are checked against which task's `returns`. */
import { bodyOf, canvasType, membersOf } from "../../protocol/celery/canvas/parts.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { AnySchema } from "../tasks/standard-schema.ts";

/** The schema of one result, or those of a group's members. */
export type Returns = AnySchema | null | readonly Returns[];

export function returnsOf(signature: WireSignature, taskOf: (name: string) => AnyTask | null): Returns {
  switch (canvasType(signature)) {
    case "chain": {
      const last = membersOf(signature).findLast((member) => !isEmptyGroup(member));
      if (last === undefined) return null;
      const returns = returnsOf(last, taskOf);
      // A group of one at the end of a chain is its member.
      return canvasType(last) === "group" && isList(returns) && returns.length === 1 ? (returns[0] ?? null) : returns;
    }
    case "group":
      return membersOf(signature).flatMap((member): readonly Returns[] => {
        const returns = returnsOf(member, taskOf);
        return canvasType(member) === "group" && isList(returns) ? returns : [returns];
      });
    case "chord": {
      const body = bodyOf(signature);
      return body === null ? null : returnsOf(body, taskOf);
    }
    default:
      return taskOf(signature.task)?.returns ?? null;
  }
}

export function isList(returns: Returns): returns is readonly Returns[] {
  return Array.isArray(returns);
}

function isEmptyGroup(signature: WireSignature): boolean {
  return canvasType(signature) === "group" && membersOf(signature).length === 0;
}
