/**
 * `add_to_chord`: another part for a chord that has begun. wire: celery/app/task.py `add_to_chord`: the counter first, so that the
 * chord cannot end before the new part. Here it is not raised for what has no form, and lowered for what the broker has surely not
 * taken: the chord would wait for it for ever. Where nobody knows, the chord fails (`lovage_fail_unreachable`).
 */
import { partCount } from "../../../protocol/celery/canvas/chord-size.ts";
import { cloned } from "../../../protocol/celery/canvas/compose.ts";
import { canvasType, membersOf } from "../../../protocol/celery/canvas/parts.ts";
import type { WireSignature } from "../../../protocol/celery/signature.ts";
import type { TaskRequest } from "../../../protocol/celery/task-message.ts";
import { type ChordCounter, ChordsNotSupported } from "../../result-backends/chord-counter.ts";
import { newId } from "../../runtime/ids.ts";
import { PublishError, TransportClosed } from "../../transports/errors.ts";
import type { Applied, Outbox } from "../outbox.ts";
import type { Request } from "../request.ts";

/** What it takes. */
export interface ChordAdder {
  readonly outbox: Pick<Outbox, "apply">;
  /** Null where the result store counts no chords. */
  readonly chords: ChordCounter | null;
  readonly inheritPriority: boolean;
  /** The request's message with floats kept apart from integers. */
  exactly(request: Request): TaskRequest;
  /** The chord that the request is in can never end well: its body fails. */
  failChord(request: Request, error: unknown): Promise<void>;
}

/** Sends the member as a part of the chord that the running request is in. Throws `ChordsNotSupported`. */
export async function addToChord(host: ChordAdder, request: Request, member: WireSignature): Promise<Applied> {
  const { chords } = host;
  const { group } = request.message;
  if (chords === null || group === null) throw new ChordsNotSupported("Backend does not support add_to_chord");
  const { failsUnreachable } = request.plan;
  if (failsUnreachable && member.subtask_type === "group") {
    // Celery counts one part for all, and runs the body a second time with the group's results alone.
    const { task_id, ...options } = member.options;
    const members = membersOf(member).map((one) => addToChord(host, request, cloned(one, [], {}, options)));
    const added = await Promise.all(members);
    const results = added.flatMap(({ result }) => (result === null ? [] : [result]));
    const id = typeof task_id === "string" ? task_id : newId();
    return { result: [[id, null], results], children: added.flatMap(({ children }) => children) };
  }
  const parts = failsUnreachable ? partCount(member) : 1;
  const { id, rootId, priority } = request.message;
  let counted = false;
  try {
    return await host.outbox.apply(member, {
      parent: { id, rootId },
      priority: host.inheritPriority ? priority : null,
      addsTo: host.exactly(request),
      beforeSending: async () => {
        await chords.addParts(group, parts);
        counted = true;
      },
    });
  } catch (error) {
    if (counted && isSurelyUnsent(error) && (parts === 1 || beginsWithOne(member)))
      await chords.addParts(group, -parts);
    else if (counted && failsUnreachable && !(error instanceof TransportClosed)) await host.failChord(request, error);
    throw error;
  }
}

/** It is sent as one message, so that none of its parts returns without it. */
function beginsWithOne(member: WireSignature): boolean {
  const first = canvasType(member) === "chain" ? membersOf(member)[0] : member;
  return first !== undefined && canvasType(first) === "task";
}

/** The broker has said that it has not taken the message. */
function isSurelyUnsent(error: unknown): boolean {
  return error instanceof PublishError && !error.inDoubt && surelyUnsent.has(error.code);
}

const surelyUnsent: ReadonlySet<string> = new Set(["UNROUTABLE", "NACKED", "MESSAGE_TOO_LARGE"]);
