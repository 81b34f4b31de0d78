/**
 * What a worker owes a Mognet delivery, as data: the checks before a run, in Mognet's order, and for every event the next
 * state and the acts that are due. Nothing here knows how an act is done.
 * wire: Mognet 2.0.0 worker/worker.py `_run_request`, `_process_request_message`, `cancel`, `_on_complete`.
 *
 * Where Mognet is unsafe, this is not: a paused request is requeued and never acked as well; a revoked one that waits for its
 * children gives its place back; what cannot be read or is revoked meanwhile is told to whoever waits.
 */
import type { MognetDeadline } from "./deadline.ts";
import type { PythonError } from "./exception.ts";
import {
  deadlinePassed,
  parentMissing,
  parentRevoked,
  recursionLimit,
  tooManyRetries,
  unknownTask,
} from "./refusals.ts";
import type { MognetRequest } from "./request.ts";
import { isDoneResult, type MognetResult, unexpectedRetries } from "./result.ts";
import type { MognetDoneState } from "./states.ts";

// --------------------------------------------------------------------------------------------------------------- checks

/** What is known of a request when its message comes. */
export interface DeliveryFacts {
  request: Pick<MognetRequest, "id" | "name" | "stack" | "deadline">;
  /** Null: it is not there. */
  result: MognetResult | null;
  /** Of the stack's ids, in the order of `request.stack`; null: not there. */
  ancestors: readonly (MognetResult | null)[];
  maxRetries: number;
  maxRecursion: number;
  isKnownTask: boolean;
  nowMs: number;
  /** `epochMs` of an instant; a naive one is the worker's local time, which only the worker knows. @default as UTC */
  deadlineMs?: (deadline: MognetDeadline & { kind: "instant" }) => number;
}

/** What becomes of it. */
export type DeliveryVerdict =
  | { readonly kind: "run" }
  /** Nobody knows of it: evicted, or never submitted. */
  | { readonly kind: "noResult" }
  | { readonly kind: "alreadyDone" }
  /** It ends here, without a start. */
  | { readonly kind: "refused"; readonly state: MognetDoneState; readonly error: PythonError };

/** Mognet's checks 1 to 7. */
export function judgeDelivery(facts: DeliveryFacts): DeliveryVerdict {
  const { request, result } = facts;
  if (result === null) return { kind: "noResult" };
  if (isDoneResult(result)) return { kind: "alreadyDone" };
  const retries = unexpectedRetries(result);
  if (retries > facts.maxRetries) return refused("FAILURE", tooManyRetries(request.id, retries, facts.maxRetries));
  if (request.stack.length > facts.maxRecursion) return refused("FAILURE", recursionLimit());
  for (let at = request.stack.length - 1; at >= 0; at--) {
    const ancestor = facts.ancestors[at] ?? null;
    if (ancestor === null) return refused("REVOKED", parentMissing(request.stack[at]!));
    if (ancestor.state === "REVOKED") return refused("REVOKED", parentRevoked(ancestor.id));
  }
  if (request.deadline?.kind === "instant") {
    const { deadline } = request;
    const dueMs = facts.deadlineMs?.(deadline) ?? deadline.epochMs ?? Date.parse(`${deadline.iso}Z`);
    if (dueMs < facts.nowMs) return refused("REVOKED", deadlinePassed());
  }
  if (!facts.isKnownTask) return refused("INVALID", unknownTask(request.name));
  return { kind: "run" };
}

function refused(state: MognetDoneState, error: PythonError): DeliveryVerdict {
  return { kind: "refused", state, error };
}

// -------------------------------------------------------------------------------------------------------------- machine

/** One act that an event makes due. */
export type MognetEffect =
  /** The result says INVALID, so that whoever waits hears of it; only if the message tells an id whose result is open. */
  | "store-malformed"
  | "store-running"
  | "call-starting"
  /** Value and terminal result in one conditional step: REVOKED is never overwritten. */
  | "store-outcome"
  /** Unless it is done: a Revoke message alone must not leave the result open. */
  | "store-revoked"
  | "store-suspended"
  | "store-resumed"
  | "clear-state"
  /** One more, or one less, request may be fetched. */
  | "raise-prefetch"
  | "lower-prefetch"
  | "call-completed"
  /** Tells the run to stop; what comes of it is not looked at any more. */
  | "cancel-run"
  | "ack"
  | "requeue";

/** Where a request stands in its worker. */
export type MognetRequestState = "received" | "running" | "waiting" | "settled";

/** What may happen to a request. */
export type MognetRequestEvent =
  | "malformed"
  | "noResult"
  | "alreadyDone"
  | "refused"
  | "started"
  /** Returned, threw, ran past its deadline, or its arguments were refused: the outcome says which. */
  | "ended"
  /** The handler asked for a pause. */
  | "paused"
  /** The first child is awaited; the last one has ended. */
  | "waits"
  | "resumes"
  /** By a message, or found out by a conditional write. */
  | "revoked"
  /** Shutdown. */
  | "handedBack"
  /**
   * The connection that it came over has gone: it comes again, and what runs goes on meanwhile. Mognet cancels it, and with a
   * broker that restarts its transient message, and so the task, is lost.
   */
  | "lost"
  /** Something of ours failed outside the handler, such as the store. */
  | "failed";

const ROWS: {
  readonly [S in MognetRequestState]: Partial<
    Record<MognetRequestEvent, readonly [next: MognetRequestState, effects: readonly MognetEffect[]]>
  >;
} = {
  received: {
    malformed: ["settled", ["store-malformed", "ack"]],
    noResult: ["settled", ["ack"]],
    alreadyDone: ["settled", ["clear-state", "call-completed", "ack"]],
    refused: ["settled", ["store-outcome", "clear-state", "call-completed", "ack"]],
    started: ["running", ["store-running", "call-starting"]],
    revoked: ["settled", ["store-revoked", "clear-state", "ack"]],
    handedBack: ["settled", ["requeue"]],
    lost: ["settled", []],
    failed: ["settled", ["requeue"]],
  },
  running: {
    ended: ["settled", ["store-outcome", "clear-state", "call-completed", "ack"]],
    paused: ["settled", ["store-suspended", "requeue"]],
    waits: ["waiting", ["store-suspended", "raise-prefetch"]],
    revoked: ["settled", ["cancel-run", "store-revoked", "clear-state", "ack"]],
    handedBack: ["settled", ["cancel-run", "store-suspended", "requeue"]],
    lost: ["running", []],
    failed: ["settled", ["requeue"]],
  },
  waiting: {
    resumes: ["running", ["store-resumed", "lower-prefetch"]],
    // The handler gave up on its children.
    ended: ["settled", ["store-outcome", "clear-state", "lower-prefetch", "call-completed", "ack"]],
    // It is SUSPENDED already.
    paused: ["settled", ["lower-prefetch", "requeue"]],
    revoked: ["settled", ["cancel-run", "lower-prefetch", "store-revoked", "clear-state", "ack"]],
    handedBack: ["settled", ["cancel-run", "lower-prefetch", "requeue"]],
    lost: ["waiting", []],
    failed: ["settled", ["lower-prefetch", "requeue"]],
  },
  settled: {},
};

/** The state after an event, and what is due, in this order. */
export interface MognetStep {
  readonly state: MognetRequestState;
  readonly effects: readonly MognetEffect[];
}

const STEPS = new Map<string, MognetStep>(
  Object.entries(ROWS).flatMap(([state, row]) =>
    Object.entries(row).map(([event, [next, effects]]): [string, MognetStep] => [
      `${state} ${event}`,
      Object.freeze({ state: next, effects: Object.freeze([...effects]) }),
    ]),
  ),
);

/** The next state and the acts that are due, in their order. An event that a state does not know is a `TypeError`. */
export function mognetStep(state: MognetRequestState, event: MognetRequestEvent): MognetStep {
  const step = STEPS.get(`${state} ${event}`);
  if (step === undefined) throw new TypeError(`a ${state} request cannot be told ${event}`);
  return step;
}
