/** A workflow as a graph: what runs after what, before anything is sent. */
import { bodyOf, canvasType, headerOf, membersOf } from "../../protocol/celery/canvas/parts.ts";
import { readSignatureList, type WireSignature } from "../../protocol/celery/signature.ts";
import { saferepr } from "../../protocol/saferepr.ts";
import { wireOf } from "../tasks/signature.ts";
import type { AnySignature } from "../tasks/signature-types.ts";
import { type EdgeKind, Graph } from "./graph.ts";

/**
 * The graph of a signature. Tasks are nodes; side by side stand the members of a group; where all of them are waited for, a chord,
 * there is a node of its own. Arrows say what comes next; callbacks and errbacks stand beside that.
 */
export function workflowGraph(signature: AnySignature): Graph {
  const drawing = new Drawing();
  drawing.draw(wireOf(signature, "workflowGraph(): the workflow"), []);
  return drawing.graph;
}

class Drawing {
  readonly graph = new Graph();
  #count = 0;

  /** Draws it after `before`, with its callbacks and errbacks. */
  draw(signature: WireSignature, before: readonly string[], how: EdgeKind = "next"): Drawn {
    const drawn = this.#parts(signature, before, how);
    const { link, link_error } = signature.options;
    for (const callback of readSignatureList(link) ?? []) this.draw(callback, drawn.ends, "callback");
    for (const errback of readSignatureList(link_error) ?? []) this.draw(errback, drawn.tasks, "on error");
    return drawn;
  }

  #parts(signature: WireSignature, before: readonly string[], how: EdgeKind): Drawn {
    switch (canvasType(signature)) {
      case "chain":
        return this.#chain(membersOf(signature), before, how);
      case "group":
        return this.#group(membersOf(signature), before, how);
      case "chord": {
        const header = this.#group(headerOf(signature), before, how);
        const body = bodyOf(signature);
        if (body === null) return header;
        if (header.ends.length === 0) return this.draw(body, before, how);
        return this.draw(body, this.#joined(header.ends));
      }
      default: {
        const node = [this.#node(labelOf(signature), before, how)];
        return { ends: node, tasks: node };
      }
    }
  }

  #chain(steps: readonly WireSignature[], before: readonly string[], how: EdgeKind): Drawn {
    let ends = before;
    const tasks: string[][] = [];
    for (const [index, step] of steps.entries()) {
      const drawn = this.draw(step, ends, index === 0 ? how : "next");
      tasks.push([...drawn.tasks]);
      // A group that something follows is a chord.
      ends = index < steps.length - 1 && canvasType(step) === "group" ? this.#joined(drawn.ends) : drawn.ends;
    }
    return { ends, tasks: tasks.flat() };
  }

  #group(members: readonly WireSignature[], before: readonly string[], how: EdgeKind): Drawn {
    const drawn = members.map((member) => this.draw(member, before, how));
    return { ends: drawn.flatMap(({ ends }) => ends), tasks: drawn.flatMap(({ tasks }) => tasks) };
  }

  #joined(ends: readonly string[]): readonly string[] {
    return ends.length < 2 ? ends : [this.#node("all", ends, "next", "chord")];
  }

  #node(label: string, before: readonly string[], how: EdgeKind, kind: "task" | "chord" = "task"): string {
    const id = `${++this.#count}`;
    this.graph.node(id, label, kind);
    for (const one of before) this.graph.edge(one, id, how);
    return id;
  }
}

/** After which nodes the next one comes, and the tasks whose failure an errback of the whole is told of (of a chord the body). */
interface Drawn {
  readonly ends: readonly string[];
  readonly tasks: readonly string[];
}

const LONGEST = 40;

/** As Celery's `repr`: `add(2, 2)`. */
function labelOf({ task, args, kwargs }: WireSignature): string {
  const named = Object.entries(kwargs).map(
    ([name, value]) => `${name}=${isSignature(value) ? value.task : saferepr(value)}`,
  );
  const text = [...args.map((one) => saferepr(one)), ...named].join(", ");
  return `${task}(${text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text})`;
}

function isSignature(value: unknown): value is WireSignature {
  return typeof value === "object" && value !== null && "task" in value && "subtask_type" in value;
}
