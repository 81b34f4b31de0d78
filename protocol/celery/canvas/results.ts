/**
 * What has been promised: results of frozen signatures, linked to their parents while a plan is made.
 * wire: celery-wire 8.3; celery/result.py `AsyncResult`, `GroupResult`, `as_tuple`.
 */
import type { ResultTuple } from "../result-tuple.ts";

export class Promised {
  readonly id: string;
  parent: Promised | null = null;
  /** Null for a single task. */
  readonly children: readonly Promised[] | null;

  constructor(id: string, children: readonly Promised[] | null = null) {
    this.id = id;
    this.children = children;
  }
}

/** The tuple of a result. A chain of a thousand tasks nests as many parents: they are walked, not recursed into. */
export function resultTuple(result: Promised): ResultTuple {
  const line: Promised[] = [];
  for (let node: Promised | null = result; node !== null; node = node.parent) line.push(node);
  let tuple: ResultTuple | null = null;
  for (let index = line.length - 1; index >= 0; index--) {
    const node = line[index] as Promised;
    tuple = [[node.id, tuple], node.children === null ? null : node.children.map(resultTuple)];
  }
  return tuple as ResultTuple;
}
