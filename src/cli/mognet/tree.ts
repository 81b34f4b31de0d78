/** A tree of results as lines, as treelib draws it; an ellipsis stands for children that a limit has left out. */
import type { Result } from "../../client/mognet/result.ts";
import type { ResultTree } from "../../client/mognet/result-tree.ts";

interface Entry {
  node: ResultTree | null;
  head: string;
  indent: string;
}

export function treeLines(tree: ResultTree, label: (result: Result) => string): string[] {
  const lines: string[] = [];
  // Written from a stack: a tree may be as deep as --max-depth says.
  const stack: Entry[] = [{ node: tree, head: "", indent: "" }];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { node, head, indent } = top;
    lines.push(`${head}${node === null ? "…" : label(node.result)}`);
    if (node === null) continue;
    const below: (ResultTree | null)[] = node.truncated ? [...node.children, null] : [...node.children];
    const entries = below.map((child, at): Entry => {
      const last = at === below.length - 1;
      return { node: child, head: `${indent}${last ? "└── " : "├── "}`, indent: `${indent}${last ? "    " : "│   "}` };
    });
    for (const entry of entries.reverse()) stack.push(entry);
  }
  return lines;
}
