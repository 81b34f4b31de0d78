import { describe, expect, test } from "vitest";
import { task } from "../tasks/definition.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
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

  test("shows callbacks, and errbacks of all that may fail", () => {
    const watched = chain(add.s(1, 2).link(fetchPage.si("c")), add.s(3))
      .link(total.si([]))
      .linkError(fetchPage.s());
    const graph = workflowGraph(group(watched, chord([], total.s().linkError(add.si(6, 7)))));
    expect(`\n${graph.toText()}`).toBe(`
add(1, 2)
  callback: fetch('c')
  on error: fetch()
→ add(3)
  callback: total([])
  on error: fetch() (above)
total()
  on error: add(6, 7)`);
    expect(
      graph
        .toDot()
        .split("\n")
        .filter((line) => line.includes("->")),
    ).toEqual([
      '  "1" -> "2" [label="callback"];',
      '  "1" -> "3";',
      '  "1" -> "5" [label="on error", style=dashed];',
      '  "3" -> "4" [label="callback"];',
      '  "3" -> "5" [label="on error", style=dashed];',
      '  "6" -> "7" [label="on error", style=dashed];',
    ]);
  });

  test("an empty header is nothing between a step and the body", () => {
    expect(workflowGraph(chain(add.s(1, 2), chord([], total.si([])))).toText()).toBe("add(1, 2)\n→ total([])");
  });

  test("draws long chains without running out of stack", () => {
    const long = chain(Array.from({ length: 20_000 }, () => add.si(1, 2))).linkError(fetchPage.s());
    const graph = workflowGraph(long);
    expect(graph.nodes.length).toBe(20_001);
    expect(graph.toText().length).toBeGreaterThan(20_000);
  });
});
