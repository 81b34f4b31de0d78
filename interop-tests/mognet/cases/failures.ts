/** Errors of each kind. */
import type { Case } from "../case.ts";

const raised = ["value", "key", "no message", "unicode", "custom", "timeout", "many arguments", "caused"] as const;
const pythonOnly = ["unpicklable", "validation inside"] as const;

export const failureCases: readonly Case[] = [
  { name: "errors/a failure", request: { task: "fail", args: ["on purpose"] } },
  { name: "errors/a failure in a thread", request: { task: "sync_fail", args: ["on purpose"] } },
  ...raised.map((kind): Case => ({ name: `errors/${kind}`, request: { task: "raise", args: [kind] } })),
  ...pythonOnly.map(
    (kind): Case => ({ name: `errors/${kind}`, request: { task: "raise", args: [kind] }, workers: "python" }),
  ),
  { name: "invalid/a type", request: { task: "add", args: ["one"] } },
  { name: "invalid/an argument is missing", request: { task: "add" } },
  { name: "invalid/a keyword too many", request: { task: "add", args: [1], kwargs: { c: 1 } } },
  { name: "invalid/a position too many", request: { task: "add", args: [1, 2, 3] } },
  { name: "invalid/an argument twice", request: { task: "add", args: [1], kwargs: { a: 1 } } },
  { name: "invalid/two things at once", request: { task: "add", args: ["one"], kwargs: { b: "two" } } },
  { name: "invalid/in a thread", request: { task: "sync_add", args: ["one"] } },
  { name: "invalid/an unknown task", request: { task: "nobody_knows", args: [1] } },
  { name: "invalid/a model", request: { task: "order_total", args: [{ id: "x" }] }, workers: "python" },
];
