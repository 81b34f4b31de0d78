import { describe, expect, test } from "vitest";
import { task } from "../tasks/definition.ts";
import { chain } from "./chain.ts";
import { group } from "./group.ts";
import { workflowGraph } from "./workflow-graph.ts";

const fetchPage = task("fetch", (url: string) => url.length);
const add = task("add", (x: number, y: number) => x + y);
const total = task("total", (numbers: readonly number[]) => numbers.length);

const workflow = chain(group(fetchPage.s("a"), chain(fetchPage.s("b"), add.s(1))), total.s(), add.s(10));

describe("a workflow as a graph", () => {
  test("is a tree of text", () => {
    expect(`\n${workflowGraph(workflow).toText()}`).toBe(`
fetch('a')
→ all
→ total()
→ add(10)
fetch('b')
→ add(1)
→ all (above)`);
  });

  test("is DOT", () => {
    expect(workflowGraph(workflow).toDot()).toBe(`digraph "workflow" {
  rankdir=LR;
  "1" [label="fetch('a')", shape=oval];
  "2" [label="fetch('b')", shape=oval];
  "3" [label="add(1)", shape=oval];
  "4" [label="all", shape=hexagon];
  "5" [label="total()", shape=oval];
  "6" [label="add(10)", shape=oval];
  "1" -> "4";
  "2" -> "3";
  "3" -> "4";
  "4" -> "5";
  "5" -> "6";
}
`);
  });

  test("draws long chains without running out of stack", () => {
    const long = chain(Array.from({ length: 20_000 }, () => add.si(1, 2)));
    expect(workflowGraph(long).nodes.length).toBe(20_000);
    expect(workflowGraph(long).toText().length).toBeGreaterThan(20_000);
  });
});
