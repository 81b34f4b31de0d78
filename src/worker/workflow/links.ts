/** What would have run after a task, and what now never will. wire: celery/backends/base.py `_fail_chain`. */
import { headerOf, membersOf } from "../../../protocol/celery/canvas/parts.ts";
import { readSignature, readSignatureList, type WireSignature } from "../../../protocol/celery/signature.ts";
import { InvalidTaskError } from "../../../protocol/errors.ts";
import { isRecord } from "../../../protocol/records.ts";

/**
 * The links of a chain, and the bodies of those that are chords, which is where Celery stops; `deep` finds the members of chains
 * and groups among them too, and those of headers, which are parts of no chord that has begun. Each is found once; inside a link, what
 * is no signature is left out, for it must not keep the others waiting.
 */
export function linksOf(chain: readonly WireSignature[], deep: boolean): WireSignature[] {
  const found = [...chain];
  const ofHeaders = new Set<WireSignature>();
  const add = (signature: WireSignature, ofHeader: boolean) => {
    const one = ofHeader ? withoutChord(signature) : signature;
    if (ofHeader) ofHeaders.add(one);
    found.push(one);
  };
  for (let at = 0; at < found.length; at++) {
    const link = found[at]!;
    const { subtask_type: kind, kwargs } = link;
    const ofHeader = ofHeaders.has(link);
    if (kind === "chord") {
      for (const body of readable(() => (isRecord(kwargs.body) ? [readSignature(kwargs.body)] : [])))
        add(body, ofHeader);
      if (deep) for (const member of readable(() => headerOf(link))) add(member, true);
    } else if (deep && (kind === "chain" || kind === "group")) {
      for (const member of readable(() => membersOf(link))) add(member, ofHeader);
    }
  }
  return found;
}

function readable(read: () => WireSignature[]): WireSignature[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof InvalidTaskError) return [];
    throw error;
  }
}

function withoutChord(signature: WireSignature): WireSignature {
  const { chord: _unused, ...options } = signature.options;
  return { ...signature, options };
}

/** The body of the chord that the signature is a part of. */
export function chordOf({ options }: WireSignature): WireSignature | null {
  return isRecord(options.chord) ? readSignature(options.chord) : null;
}

/** The id under which a frozen signature's result is kept: of a chain its last step, of a chord its body. */
export function resultId(signature: WireSignature): string | null {
  const { subtask_type: kind, kwargs, options } = signature;
  if (kind === "chord" && isRecord(kwargs.body)) return resultId(readSignature(kwargs.body));
  if (kind === "chain") {
    const last = membersOf(signature).at(-1);
    if (last !== undefined) return resultId(last);
  }
  return textOption(options, "task_id");
}

/** Errbacks of whatever a signature's result is, its own first. wire: celery/backends/base.py `_result_errbacks`. */
export function resultErrbacks(signature: WireSignature): WireSignature[] {
  const errbacks = readSignatureList(signature.options.link_error) ?? [];
  if (signature.subtask_type === "chord" && isRecord(signature.kwargs.body)) {
    errbacks.push(...resultErrbacks(readSignature(signature.kwargs.body)));
  } else if (signature.subtask_type === "group") {
    for (const member of membersOf(signature)) errbacks.push(...resultErrbacks(member));
  }
  return errbacks;
}

export function textOption(options: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = options[name];
  return typeof value === "string" && value !== "" ? value : null;
}
