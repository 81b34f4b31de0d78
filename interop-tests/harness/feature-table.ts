/**
 * A part of `docs/compatibility.md` that is a table of features, made of the tests of a file: a row for each promise, a column for
 * each place where it was kept, and in it how many tests passed of how many there are. Several files may write rows of one part.
 */
import { afterEach, expect, test } from "vitest";
import { readPart, type TablePart, titles, writePart } from "./compatibility-file.ts";

export interface FeatureTable {
  readonly part: TablePart;
  readonly intro: string;
  readonly columns: readonly string[];
  /** Where a test belongs, by the names of the `describe`s around it and its own; null: nowhere. */
  place(suites: readonly string[], title: string): { row: string; column: string } | null;
  /** Rows of this part that other files write, which are left as they are. @default none */
  isForeign?(row: string): boolean;
  /** What is off or different, and why: paragraphs behind the table. */
  readonly notes?: readonly string[];
}

interface Ended {
  readonly suites: readonly string[];
  readonly title: string;
  readonly passed: boolean;
}

interface Node {
  readonly name: string;
  readonly type: string;
  readonly mode?: string;
  readonly suite?: Node | undefined;
  readonly tasks?: readonly Node[];
}

/** Called behind the last test of a file. */
export function writesFeatures(table: FeatureTable): void {
  const ended: Ended[] = [];
  afterEach(({ task }) => {
    const suites: string[] = [];
    for (let at: Node | undefined = task.suite; at !== undefined; at = at.suite) suites.unshift(at.name);
    ended.push({ suites, title: task.name, passed: task.result?.state !== "fail" });
  });

  test("docs/compatibility.md has what this run generates", async ({ task, skip }) => {
    const all = testsOf(task.file).filter(({ mode }) => mode === "run" || mode === "queued").length;
    if (ended.length < all - 1) return skip("only a part of the file was run");
    expect(ended.flatMap(({ passed, title }) => (passed ? [] : [title]))).toEqual([]);
    const rows = rowsOf(table, ended);
    const text = textOf(table, rows, await readPart(table.part));
    if (process.env.CI !== "true") await writePart(table.part, text);
    expect(await readPart(table.part)).toBe(text);
  });
}

function testsOf(node: Node): Node[] {
  return node.type === "test" ? [node] : (node.tasks ?? []).flatMap(testsOf);
}

type Rows = Map<string, string[]>;

function rowsOf({ place, columns }: FeatureTable, ended: readonly Ended[]): Rows {
  const counts = new Map<string, Map<string, { passed: number; all: number }>>();
  for (const { suites, title, passed } of ended) {
    const at = place(suites, title);
    if (at === null) continue;
    const row = counts.get(at.row) ?? new Map<string, { passed: number; all: number }>();
    counts.set(at.row, row);
    const cell = row.get(at.column) ?? { passed: 0, all: 0 };
    row.set(at.column, { passed: cell.passed + (passed ? 1 : 0), all: cell.all + 1 });
  }
  const cells = (row: ReadonlyMap<string, { passed: number; all: number }>) =>
    columns.map((column) => {
      const cell = row.get(column);
      return cell === undefined ? "off" : `${cell.passed}/${cell.all}`;
    });
  return new Map(Array.from(counts, ([name, row]) => [name, cells(row)]));
}

function textOf(table: FeatureTable, own: Rows, before: string): string {
  const { part, intro, columns, isForeign = () => false, notes = [] } = table;
  const kept = new Map<string, string[]>();
  for (const line of before.split("\n")) {
    const [name = "", ...cells] = line.split(" | ").map((cell) => cell.replace(/^\|+ ?| ?\|$/g, ""));
    if (line.startsWith("| ") && name !== "" && cells.length === columns.length && isForeign(name))
      kept.set(name, cells);
  }
  const rows = [...kept, ...own].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${[
    titles[part],
    intro,
    [
      `| | ${columns.join(" | ")} |`,
      `| --- |${columns.map(() => " --- |").join("")}`,
      ...rows.map(([name, cells]) => `| ${name} | ${cells.join(" | ")} |`),
    ].join("\n"),
    ...notes,
  ].join("\n\n")}\n`;
}
