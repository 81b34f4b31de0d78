/**
 * Callbacks and flags of a signature of any type, and where they end up: on the task itself, a chord's body, members of a group.
 * Nothing is changed in place. wire: celery/canvas.py `link`, `link_error`, `set_immutable` of each class.
 */
import { InvalidTaskError } from "../../errors.ts";
import { encodeJson } from "../../json.ts";
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

/** Sends `callback` when the signature succeeds: a chord's body does, a group's first member does (then without its result). */
export function linked(signature: WireSignature, callback: WireSignature): WireSignature {
  switch (canvasType(signature)) {
    case "group": {
      const [first, ...rest] = membersOf(signature);
      if (first === undefined) throw new InvalidTaskError("a group without members has nothing to link to");
      return withMembers(signature, [linked(first, madeImmutable(callback, true)), ...rest]);
    }
    case "chord":
      return withBody(signature, linked(demandBody(signature), callback));
    default:
      return withListOption(signature, "link", callback);
  }
}

/**
 * Sends `errback` when the signature fails: for a group when any member does, for a chord when its body does. With `onHeader`
 * (Celery's `task_allow_error_cb_on_chord_header`) also when a member of a chord's header does.
 */
export function errorLinked(signature: WireSignature, errback: WireSignature, onHeader = false): WireSignature {
  switch (canvasType(signature)) {
    case "group": {
      // Each member gets a clone, and a cloned chain or group forgets that it is immutable.
      const type = canvasType(errback);
      const copy = type === "chain" || type === "group" ? { ...errback, immutable: false } : errback;
      return withMembers(
        signature,
        membersOf(signature).map((member) => errorLinked(member, copy, onHeader)),
      );
    }
    case "chord": {
      const header = headerOf(signature).map((member) => {
        const marked = onHeader ? errorLinked(member, markedImmutable(errback), onHeader) : member;
        return canvasType(member) === "chord" ? errorLinked(marked, errback, onHeader) : marked;
      });
      return withBody(withHeader(signature, header), errorLinked(demandBody(signature), errback, onHeader));
    }
    default:
      return withListOption(signature, "link_error", errback);
  }
}

/** What Celery's `clone(immutable=True)` makes: of a task or chord an option of that name, which changes nothing. */
function markedImmutable(errback: WireSignature): WireSignature {
  const type = canvasType(errback);
  if (type === "chain" || type === "group") return { ...errback, immutable: true };
  return { ...errback, options: { ...errback.options, immutable: true } };
}

/** Immutable signatures take no results: for a group its members, for a chord those of its header. */
export function madeImmutable(signature: WireSignature, immutable: boolean): WireSignature {
  switch (canvasType(signature)) {
    case "group":
      return withMembers(
        signature,
        membersOf(signature).map((member) => madeImmutable(member, immutable)),
      );
    case "chord":
      return withHeader(
        signature,
        headerOf(signature).map((member) => madeImmutable(member, immutable)),
      );
    default:
      return { ...signature, immutable };
  }
}

/** What is there already is not added again. */
export function withListOption(
  signature: WireSignature,
  name: "link" | "link_error",
  added: WireSignature,
): WireSignature {
  const present = listOption(signature, name);
  const text = present.length === 0 ? "" : encodeJson(added);
  if (present.some((one) => encodeJson(one) === text)) return signature;
  return { ...signature, options: { ...signature.options, [name]: [...present, added] } };
}

/** Callbacks or errbacks in the options, one bare signature included. */
export function listOption(signature: WireSignature, name: "link" | "link_error"): WireSignature[] {
  return readSignatureList(signature.options[name]) ?? [];
}

export function demandBody(chord: WireSignature): WireSignature {
  const body = bodyOf(chord);
  if (body === null) throw new InvalidTaskError("a chord without a body has nothing to link to");
  return body;
}
