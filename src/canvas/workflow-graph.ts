/** A workflow as a graph: what runs after what, before anything is sent. */
import { bodyOf, canvasType, headerOf, membersOf } from "../../protocol/celery/canvas/parts.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { saferepr } from "../../protocol/saferepr.ts";
import { wireOf } from "../tasks/signature.ts";
import type { AnySignature } from "../tasks/signature-types.ts";
import { Graph } from "./graph.ts";

/**
 * The graph of a signature. Tasks are nodes; side by side stand the members of a group; where all of them are waited for, a chord,
 * there is a node of its own. Arrows say what comes next.
 */
export function workflowGraph(signature: AnySignature): Graph {
  const drawing = new Drawing();
  drawing.draw(wireOf(signature, "workflowGraph(): the workflow"), []);
  return drawing.graph;
}

class Drawing {
  readonly graph = new Graph();
  #count = 0;

  /** Draws it after `before`, and says after which nodes the next one comes. */
  draw(signature: WireSignature, before: readonly string[]): readonly string[] {
    switch (canvasType(signature)) {
      case "chain":
        return this.#chain(membersOf(signature), before);
      case "group":
        return this.#group(membersOf(signature), before);
      case "chord": {
        const header = this.#group(headerOf(signature), before);
        const body = bodyOf(signature);
        return body === null ? header : this.draw(body, this.#joined(header));
      }
      default:
        return [this.#node(labelOf(signature), before)];
    }
  }

  #chain(steps: readonly WireSignature[], before: readonly string[]): readonly string[] {
    let ends = before;
    for (const [index, step] of steps.entries()) {
      const after = this.draw(step, ends);
      // A group that something follows is a chord.
      ends = index < steps.length - 1 && canvasType(step) === "group" ? this.#joined(after) : after;
    }
    return ends;
  }

  #group(members: readonly WireSignature[], before: readonly string[]): readonly string[] {
    return members.flatMap((member) => this.draw(member, before));
  }

  #joined(ends: readonly string[]): readonly string[] {
    return ends.length < 2 ? ends : [this.#node("all", ends, "chord")];
  }

  #node(label: string, before: readonly string[], kind: "task" | "chord" = "task"): string {
    const id = `${++this.#count}`;
    this.graph.node(id, label, kind);
    for (const one of before) this.graph.edge(one, id);
    return id;
  }
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
