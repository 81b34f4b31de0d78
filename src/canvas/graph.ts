/** Things and what follows them, as DOT (Graphviz) and as text. wire: celery/utils/graph.py `DependencyGraph.to_dot`. */

export type NodeKind = "task" | "group" | "chord";
/** What comes next, or stands beside that: a callback, or what is told of a failure. */
export type EdgeKind = "next" | "callback" | "on error";

interface Node {
  readonly id: string;
  readonly label: string;
  readonly kind: NodeKind;
  readonly next: Map<string, EdgeKind>;
  before: number;
}

/** Nodes and arrows that are drawn as DOT for Graphviz, or as text. */
export class Graph {
  readonly #nodes = new Map<string, Node>();

  /** Adds a node; one that is there stays as it is. */
  node(id: string, label: string, kind: NodeKind = "task"): void {
    if (!this.#nodes.has(id)) this.#nodes.set(id, { id, label, kind, next: new Map(), before: 0 });
  }

  /** Adds an arrow between two nodes; nodes that are missing are made. */
  edge(from: string, to: string, kind: EdgeKind = "next"): void {
    this.node(from, from);
    this.node(to, to);
    const start = this.#nodes.get(from);
    const end = this.#nodes.get(to);
    if (start === undefined || end === undefined || start.next.has(to)) return;
    start.next.set(to, kind);
    end.before++;
  }

  get nodes(): readonly { readonly id: string; readonly label: string; readonly kind: NodeKind }[] {
    return [...this.#nodes.values()].map(({ id, label, kind }) => ({ id, label, kind }));
  }

  get edges(): readonly (readonly [from: string, to: string])[] {
    return [...this.#nodes.values()].flatMap(({ id, next }) => [...next.keys()].map((to) => [id, to] as const));
  }

  /** The text that `dot -Tsvg` draws. */
  toDot(name = "workflow"): string {
    const lines = [`digraph ${quoted(name)} {`, "  rankdir=LR;"];
    for (const { id, label, kind } of this.#nodes.values()) {
      lines.push(`  ${quoted(id)} [label=${quoted(label)}, shape=${SHAPES[kind]}];`);
    }
    for (const { id, next } of this.#nodes.values()) {
      for (const [to, kind] of next) lines.push(`  ${quoted(id)} -> ${quoted(to)}${LOOKS[kind]};`);
    }
    return `${lines.join("\n")}\n}\n`;
  }

  /**
   * One line for each node: `→` comes after the line above, branches are indented, and so are callbacks and errbacks, which are called
   * so; what has appeared already is only named again.
   */
  toText(): string {
    const lines: string[] = [];
    const seen = new Set<string>();
    const roots = [...this.#nodes.values()].filter((node) => node.before === 0);
    for (const root of roots) this.#write(root, "", "", lines, seen);
    return lines.join("\n");
  }

  /** What follows alone stands below at the same depth, however long the line is; what branches is indented. */
  #write(start: Node, lead: string, below: string, lines: string[], seen: Set<string>): void {
    let node = start;
    let before = lead;
    for (;;) {
      const again = seen.has(node.id);
      lines.push(`${before}${node.label}${again ? " (above)" : ""}`);
      if (again) return;
      seen.add(node.id);
      const next: Node[] = [];
      for (const [id, kind] of node.next) {
        const child = this.#nodes.get(id);
        if (child === undefined) continue;
        if (kind === "next") next.push(child);
        else this.#write(child, `${below}  ${kind}: `, `${below}    `, lines, seen);
      }
      const [only] = next;
      if (only === undefined || next.length > 1) {
        for (const [index, child] of next.entries()) {
          const last = index === next.length - 1;
          this.#write(child, `${below}${last ? "└─ " : "├─ "}`, `${below}${last ? "   " : "│  "}`, lines, seen);
        }
        return;
      }
      node = only;
      before = `${below}→ `;
    }
  }
}

const SHAPES: Readonly<Record<NodeKind, string>> = { task: "oval", group: "box", chord: "hexagon" };

const LOOKS: Readonly<Record<EdgeKind, string>> = {
  next: "",
  callback: ' [label="callback"]',
  "on error": ' [label="on error", style=dashed]',
};

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}
