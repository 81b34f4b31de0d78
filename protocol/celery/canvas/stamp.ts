/**
 * Stamps: headers that a workflow's tasks carry to logs and results. A visitor may give other ones to each part.
 * wire: celery-wire 1.11; celery/canvas.py `stamp`, `stamp_links`, `_stamp_headers`, `_merge_dictionaries`, `StampingVisitor`.
 *
 * As in Celery: what is stamped first wins unless stamps are appended; a chord's body is stamped by visitors only; a visitor makes
 * a chord's header a group. Names keep their order here, which in Python changes from run to run.
 */
import { isRecord } from "../../records.ts";
import { readSignatureList, type WireSignature } from "../signature.ts";
import { groupOf } from "./compose.ts";
import { setOption } from "./draft.ts";
import { bodyOf, canvasType, headerOf, membersOf, withBody, withHeader, withMembers } from "./parts.ts";

/** Stamps by name. `stamped_headers`, where there are any, are the names that count; others are mere options. */
export type Stamps = Readonly<Record<string, unknown>>;

/** What a visitor is asked on the way through a signature; each answer is added to the stamps of the part and of what is in it. */
export interface WireVisitor {
  onSignature?(signature: WireSignature, stamps: Stamps): Stamps | null | undefined;
  onGroupStart?(group: WireSignature, stamps: Stamps): Stamps | null | undefined;
  onGroupEnd?(group: WireSignature, stamps: Stamps): void;
  onChainStart?(chain: WireSignature, stamps: Stamps): Stamps | null | undefined;
  onChainEnd?(chain: WireSignature, stamps: Stamps): void;
  /** Without it a chord's header is visited as a group. */
  onChordHeaderStart?(chord: WireSignature, stamps: Stamps): Stamps | null | undefined;
  onChordHeaderEnd?(chord: WireSignature, stamps: Stamps): void;
  onChordBody?(chord: WireSignature, stamps: Stamps): Stamps | null | undefined;
  onCallback?(callback: WireSignature, stamps: Stamps): Stamps | null | undefined;
  onErrback?(errback: WireSignature, stamps: Stamps): Stamps | null | undefined;
}

/** How the values of stamps come about. */
export interface StampHow {
  readonly visitor: WireVisitor | null;
  /** Values of one name become a list instead of the first one winning. */
  readonly append: boolean;
}

/** The signature and all that is inside of it, with stamps. wire: celery/canvas.py `Signature.stamp`. */
export function stamped(signature: WireSignature, stamps: Stamps, how: StampHow): WireSignature {
  switch (canvasType(signature)) {
    case "group":
      return stampedGroup(signature, stamps, how);
    case "chain":
      return stampedChain(signature, stamps, how);
    case "chord":
      return stampedChord(signature, stamps, how);
    default: {
      const withLinks = stampedLinks(signature, stamps, how);
      const own = how.visitor === null ? null : (how.visitor.onSignature?.(withLinks, stamps) ?? {});
      const merged = mergedStamps(withLinks, own, how.append, true, stamps);
      return { ...withLinks, options: { ...withLinks.options, ...merged } };
    }
  }
}

function stampedGroup(group: WireSignature, given: Stamps, how: StampHow): WireSignature {
  const { visitor, append } = how;
  const own = visitor === null ? null : (visitor.onGroupStart?.(group, given) ?? {});
  const stamps = mergedStamps(group, own, append, true, given);
  const withLinks = stampedLinks(group, stamps, how);
  const done = withMembers(
    withLinks,
    membersOf(group).map((member) => stamped(member, stamps, how)),
  );
  visitor?.onGroupEnd?.(done, stamps);
  return done;
}

function stampedChain(chain: WireSignature, given: Stamps, how: StampHow): WireSignature {
  const { visitor, append } = how;
  const own = visitor === null ? null : (visitor.onChainStart?.(chain, given) ?? {});
  const stamps = mergedStamps(chain, own, append, true, given);
  // Celery does not pass on here that stamps are appended.
  const withLinks = stampedLinks(chain, stamps, { visitor, append: false });
  const done = withMembers(
    withLinks,
    membersOf(chain).map((member) => stamped(member, stamps, how)),
  );
  visitor?.onChainEnd?.(done, stamps);
  return done;
}

function stampedChord(given: WireSignature, givenStamps: Stamps, how: StampHow): WireSignature {
  const { visitor, append } = how;
  let chord = given;
  let own: Stamps | null = null;
  if (visitor !== null) {
    if (visitor.onChordHeaderStart === undefined) {
      chord = withGroupHeader(given);
      const { header } = chord.kwargs;
      own = visitor.onGroupStart?.(isRecord(header) ? groupOf(headerOf(chord)) : given, givenStamps) ?? {};
    } else own = visitor.onChordHeaderStart(chord, givenStamps) ?? {};
  }
  let stamps = mergedStamps(chord, own, append, true, givenStamps);
  const header = headerOf(chord).map((member) => stamped(member, stamps, how));
  const withLinks = withHeader(stampedLinks(chord, stamps, how), header);
  if (visitor === null) return withLinks;
  if (visitor.onChordHeaderEnd !== undefined) visitor.onChordHeaderEnd(withLinks, stamps);
  else visitor.onGroupEnd?.(groupOf(header), stamps);
  const body = bodyOf(withLinks);
  if (body === null) return withLinks;
  stamps = mergedStamps(withLinks, visitor.onChordBody?.(withLinks, stamps) ?? {}, append, true, stamps);
  return withBody(withLinks, stamped(body, stamps, how));
}

function withGroupHeader(chord: WireSignature): WireSignature {
  if (isRecord(chord.kwargs.header)) return chord;
  return { ...chord, kwargs: { ...chord.kwargs, header: groupOf(headerOf(chord)) } };
}

/** Callbacks and errbacks get the visitor's stamps and those given, not those of what they are linked to. */
function stampedLinks(signature: WireSignature, stamps: Stamps, how: StampHow): WireSignature {
  const { visitor } = how;
  let { options } = signature;
  for (const name of ["link", "link_error"] as const) {
    const links = readSignatureList(options[name]) ?? [];
    if (links.length === 0) continue;
    let soFar = stamps;
    const done = links.map((one) => {
      const answer = name === "link" ? visitor?.onCallback?.(one, soFar) : visitor?.onErrback?.(one, soFar);
      soFar = mergedStamps(signature, visitor === null ? null : (answer ?? {}), how.append, false, soFar);
      return stamped(one, soFar, how);
    });
    options = { ...options, [name]: done };
  }
  return options === signature.options ? signature : { ...signature, options };
}

function mergedStamps(
  signature: WireSignature,
  visited: Stamps | null,
  append: boolean,
  own: boolean,
  given: Stamps,
): Record<string, unknown> {
  let stamps: Record<string, unknown> = { ...given, stamped_headers: namesIn(given) };
  if (visited !== null) {
    stamps = merged(stamps, { ...visited, stamped_headers: namesIn(visited) }, append);
    stamps.stamped_headers = unique(stamps.stamped_headers);
  }
  if (!own) return stamps;
  const { options } = signature;
  const names = unique([...list(stamps.stamped_headers), ...list(options.stamped_headers)]);
  stamps.stamped_headers = names;
  const kept = Object.entries(options).filter(([name]) => names.includes(name));
  return kept.length === 0 ? stamps : merged(stamps, Object.fromEntries(kept), append);
}

/** The first value stands, unless values are gathered; lists grow in either case. */
function merged(first: Stamps, second: Stamps, append: boolean): Record<string, unknown> {
  const result: Record<string, unknown> = { ...first };
  for (const [name, added] of Object.entries(second)) {
    setOption(result, name, Object.hasOwn(first, name) ? mergedValue(first[name], added, append) : added);
  }
  return result;
}

function mergedValue(value: unknown, added: unknown, append: boolean): unknown {
  if (isRecord(value)) return isRecord(added) ? merged(value, added, append) : value;
  const scalar = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
  if (Array.isArray(added) && (Array.isArray(value) || (scalar && append))) return [...list(value), ...added];
  if (!append) return value;
  return [...list(value), added];
}

function list(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return value === undefined || value === null ? [] : [value];
}

function namesIn(stamps: Stamps): unknown {
  return Object.hasOwn(stamps, "stamped_headers") ? stamps.stamped_headers : Object.keys(stamps);
}

function unique(names: unknown): string[] {
  return [...new Set(list(names).map(String))];
}
