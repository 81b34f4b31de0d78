/** Whether a write may happen, in JavaScript; `redis-scripts.ts` asks the same in Lua. */
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { MognetCondition } from "./mognet-store.ts";

export function conditionHolds(condition: MognetCondition | undefined, current: MognetResult | null): boolean {
  if (condition === undefined) return true;
  if (current === null) return condition.exists !== true;
  const { states, starts, nodeId } = condition;
  if (states !== undefined && !states.includes(current.state)) return false;
  if (starts !== undefined && starts !== current.numberOfStarts) return false;
  return nodeId === undefined || nodeId === current.nodeId;
}

/** Is this the end of a run that changes no more than state, end and number of stops? */
export function isPlainEnd(before: MognetResult, after: MognetResult): boolean {
  return (
    before.id === after.id &&
    before.name === after.name &&
    before.numberOfStarts === after.numberOfStarts &&
    before.parentId === after.parentId &&
    before.created === after.created &&
    before.started === after.started &&
    before.nodeId === after.nodeId &&
    before.requestKwargsRepr === after.requestKwargsRepr
  );
}
