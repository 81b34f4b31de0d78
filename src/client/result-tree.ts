/**
 * Results below a result: a task's children, a group's members, and theirs.
 * wire: celery/result.py `iterdeps`, `collect`, `build_graph`.
 */
import { Graph } from "../canvas/graph.ts";
import type { AnyResult, GetOptions } from "./async-result.ts";

/** A result of the tree and its value. */
export type ResultEntry = readonly [result: AnyResult, value: unknown];

/** Every result with its value, level by level; each is awaited, so that its children are known. */
export async function* collect(root: AnyResult, options: GetOptions): AsyncGenerator<ResultEntry, void, undefined> {
  const queue: AnyResult[] = [root];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    yield [node, await node.get(options)];
    queue.push(...(await node.children()));
  }
}

/**
 * The tree as far as it is known now: nothing is awaited, and what a task has sent is known when it has ended. Steps before the
 * root, in a chain, stand above it.
 */
export async function resultGraph(root: AnyResult): Promise<Graph> {
  const graph = new Graph();
  const seen = new Set<string>();
  let top = root;
  while (top.parent !== null) top = top.parent;
  await Promise.all([addBelow(graph, top, seen), addLine(graph, root, seen)]);
  return graph;
}

async function addLine(graph: Graph, root: AnyResult, seen: Set<string>): Promise<void> {
  for (let node = root; node.parent !== null; node = node.parent) {
    addNode(graph, node.parent);
    addNode(graph, node);
    graph.edge(node.parent.id, node.id);
    if (isGroup(node)) await addBelow(graph, node, seen);
    if (isGroup(node.parent)) await addBelow(graph, node.parent, seen);
  }
}

async function addBelow(graph: Graph, node: AnyResult, seen: Set<string>): Promise<void> {
  addNode(graph, node);
  if (seen.has(node.id)) return;
  seen.add(node.id);
  // A task that retries names itself as its child.
  if (!isGroup(node) && !(await node.ready())) return;
  const children = await node.children();
  for (const child of children) {
    addNode(graph, child);
    graph.edge(node.id, child.id);
  }
  await Promise.all(children.map((child) => addBelow(graph, child, seen)));
}

function addNode(graph: Graph, node: AnyResult): void {
  graph.node(node.id, isGroup(node) ? `group of ${node.results.length}` : node.id, isGroup(node) ? "group" : "task");
}

function isGroup(node: AnyResult): node is Extract<AnyResult, { results: unknown }> {
  return "results" in node;
}
