/**
 * A result with its descendants, limited in depth and width. A record that is its own ancestor, which only a broken or hostile store
 * holds, ends its branch instead of the program. wire: mognet/model/result.py `tree`, mognet/model/result_tree.py.
 */
import { encodeMognetResult, MOGNET_RESULT_FIELDS, type MognetResult } from "../../../protocol/mognet/result.ts";
import { count } from "../../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../../settings/option-object.ts";
import { Result } from "./result.ts";
import type { Results } from "./results.ts";

/** How much of a tree is read. */
export interface TreeOptions {
  /** Levels, this result's included, which is there always. @default 3 */
  maxDepth?: number;
  /** Children of one result. @default 500 */
  maxWidth?: number;
}

const OPTIONS: OptionKinds = { maxDepth: count(), maxWidth: count() };
/** Results of one tree: width and depth multiply. */
const MOST = 100_000;

/** A result as Mognet's own models print it: the wire's names, times as ISO texts. */
export type PlainResult = Readonly<Record<(typeof MOGNET_RESULT_FIELDS)[number], string | number | null>>;

/** A tree of results as JSON, by Mognet's names. */
export interface PlainTree {
  readonly result: PlainResult;
  readonly children: readonly PlainTree[];
}

/** A result and those of its children, down to a depth. Got from `result.tree()`; Mognet: `ResultTree`. */
export class ResultTree {
  readonly result: Result;
  readonly children: readonly ResultTree[];
  /** Children were left out: a limit, or a result that is its own ancestor. */
  readonly truncated: boolean;

  constructor(result: Result, children: readonly ResultTree[], truncated: boolean) {
    this.result = result;
    this.children = children;
    this.truncated = truncated;
  }

  /** What `model_dump_json` of Mognet's `ResultTree` gives. */
  toJSON(): PlainTree {
    return { result: plainResult(this.result.record), children: this.children.map((child) => child.toJSON()) };
  }
}

export function plainResult(record: Readonly<MognetResult>): PlainResult {
  const fields = encodeMognetResult(record);
  const plain = new Map<string, string | number | null>();
  for (let at = 0; at + 1 < fields.length; at += 2) plain.set(fields[at] ?? "", JSON.parse(fields[at + 1] ?? "null"));
  return Object.fromEntries(MOGNET_RESULT_FIELDS.map((name) => [name, plain.get(name) ?? null])) as PlainResult;
}

interface Node {
  result: Result;
  children: Node[];
  truncated: boolean;
  parent: Node | null;
}

/** Level by level: one read for the children of each result, one for the records of a level. */
export async function buildTree(root: Result, results: Results, options: TreeOptions): Promise<ResultTree> {
  checkOptionObject(options, OPTIONS, "result.tree()");
  const { maxDepth = 3, maxWidth = 500 } = options;
  const top: Node = { result: root, children: [], truncated: false, parent: null };
  let left = MOST;
  let level: Node[] = [top];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth >= maxDepth) {
      await inSteps(level, async (node) => {
        node.truncated = (await results.store.countChildren(node.result.id)) > 0;
      });
      break;
    }
    const found = await inSteps(level, async (node) => childrenOf(node, results, maxWidth));
    const next: Node[] = [];
    for (const nodes of found) {
      for (const node of nodes) {
        if (left-- <= 0) {
          if (node.parent !== null) node.parent.truncated = true;
          continue;
        }
        node.parent?.children.push(node);
        next.push(node);
      }
    }
    level = next;
  }
  return frozen(top);
}

async function childrenOf(parent: Node, results: Results, maxWidth: number): Promise<Node[]> {
  const ids: string[] = [];
  for await (const id of results.store.childIds(parent.result.id, { limit: maxWidth + 1 })) {
    if (isAncestor(parent, id)) parent.truncated = true;
    else ids.push(id);
  }
  if (ids.length > maxWidth) {
    parent.truncated = true;
    ids.length = maxWidth;
  }
  if (ids.length === 0) return [];
  const nodes: Node[] = [];
  for (const record of await results.store.getMany(ids)) {
    if (record !== null) nodes.push({ result: new Result(record, results), children: [], truncated: false, parent });
  }
  return nodes.sort((a, b) => byCreation(a.result.record, b.result.record));
}

/** The store keeps no order; a tree shows its branches in that of their submit. */
function byCreation(a: MognetResult, b: MognetResult): number {
  const [x, y] = [a.created ?? "", b.created ?? ""];
  return x < y ? -1 : x > y ? 1 : a.id < b.id ? -1 : 1;
}

function isAncestor(node: Node, id: string): boolean {
  for (let above: Node | null = node; above !== null; above = above.parent) if (above.result.id === id) return true;
  return false;
}

const AT_ONCE = 100;

async function inSteps<In, Out>(items: readonly In[], act: (item: In) => Promise<Out>): Promise<Out[]> {
  const done: Out[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE)
    done.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(act))));
  return done;
}

/** From the leaves up, without recursion: a tree may be as deep as its limit says. */
function frozen(top: Node): ResultTree {
  const order: Node[] = [top];
  for (let at = 0; at < order.length; at++) order.push(...(order[at]?.children ?? []));
  const made = new Map<Node, ResultTree>();
  for (const node of order.reverse()) {
    const children = node.children.flatMap((child) => made.get(child) ?? []);
    made.set(node, new ResultTree(node.result, children, node.truncated));
  }
  return made.get(top) ?? new ResultTree(top.result, [], false);
}
