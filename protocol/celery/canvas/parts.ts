/**
 * The parts of a signature as it travels: members, header, body, callbacks. Nothing is changed in place.
 * wire: celery-wire 2.1; celery/canvas.py `from_dict` of each class.
 */
import { InvalidTaskError } from "../../errors.ts";
import { readSignature, readSignatureList, type WireSignature } from "../signature.ts";

export type CanvasType = "task" | "chain" | "group" | "chord";

/** What a signature is; `celery.map`, `celery.starmap` and `celery.chunks` are tasks here. */
export function canvasType({ subtask_type: type }: WireSignature): CanvasType {
  return type === "chain" || type === "group" || type === "chord" ? type : "task";
}

/** Members of a chain or a group. */
export function membersOf(signature: WireSignature): WireSignature[] {
  return readSignatureList(signature.kwargs.tasks) ?? [];
}

/** The header of a chord as a list; it may travel as a group. */
export function headerOf(chord: WireSignature): WireSignature[] {
  const { header } = chord.kwargs;
  if (Array.isArray(header) || header === null || header === undefined) return readSignatureList(header) ?? [];
  const signature = readSignature(header);
  return canvasType(signature) === "group" ? membersOf(signature) : [signature];
}

export function bodyOf(chord: WireSignature): WireSignature | null {
  const { body } = chord.kwargs;
  return body === null || body === undefined ? null : readSignature(body);
}

export function withMembers(signature: WireSignature, tasks: readonly WireSignature[]): WireSignature {
  return { ...signature, kwargs: { ...signature.kwargs, tasks } };
}

/** The header keeps its form, a list or a group. */
export function withHeader(chord: WireSignature, tasks: readonly WireSignature[]): WireSignature {
  const { header } = chord.kwargs;
  const isGroup = !Array.isArray(header) && header !== null && header !== undefined;
  const group = isGroup ? readSignature(header) : null;
  const kept = group !== null && canvasType(group) === "group" ? withMembers(group, tasks) : tasks;
  return { ...chord, kwargs: { ...chord.kwargs, header: kept } };
}

export function withBody(chord: WireSignature, body: WireSignature): WireSignature {
  return { ...chord, kwargs: { ...chord.kwargs, body } };
}

/** Callbacks or errbacks in the options, one bare signature included. */
export function listOption(signature: WireSignature, name: "link" | "link_error"): WireSignature[] {
  return readSignatureList(signature.options[name]) ?? [];
}

export function demandBody(chord: WireSignature): WireSignature {
  const body = bodyOf(chord);
  if (body === null) throw new InvalidTaskError("a chord needs a body");
  return body;
}

/** Whether some task in it would be sent with what comes before it: an immutable one is not. */
export function takesResult(signature: WireSignature): boolean {
  const waiting = [signature];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    switch (canvasType(next)) {
      case "task":
        if (!next.immutable) return true;
        break;
      case "chain":
        waiting.push(...membersOf(next).slice(0, 1));
        break;
      case "group":
        for (const member of membersOf(next)) waiting.push(member);
        break;
      case "chord":
        for (const member of headerOf(next)) waiting.push(member);
    }
  }
  return false;
}
