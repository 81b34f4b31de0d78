/**
 * What a worker owes a request, as data: every state change and every order of acts lives here, and this file does not know
 * how any act is done. The order is Celery's, seen from outside; on top of it comes, where the policy says so, the failing of
 * what a task leaves behind for ever: the steps after it, and the chords that they are parts of.
 * wire: celery/app/trace.py `trace_task`, celery/worker/request.py `on_accepted`, `on_success`, `on_failure`, `on_retry`,
 *       `on_timeout`; celery-behaviour 1.8 to 1.12, 1.15.
 */

export type EffectKind =
  | "ack"
  | "reject"
  | "requeue"
  | "store-started"
  | "publish-callbacks"
  | "publish-chain"
  | "store-success"
  | "return-chord-part"
  | "fail-chord-part"
  | "revoke-chord-part"
  | "fail-stranded"
  | "publish-replacement"
  | "publish-retry"
  | "store-retry"
  | "store-failure"
  | "fail-chain"
  | "publish-errbacks"
  | "store-revoked"
  | "emit-started"
  | "emit-succeeded"
  | "emit-failed"
  | "emit-retried"
  | "emit-rejected"
  | "emit-requeued"
  | "emit-revoked"
  | "emit-cancelled";

export type RequestState = "received" | "held" | "reserved" | "running" | "finishing" | "settled";

/** Who may enter which state from which; an event missing from a row is a bug, and the error names both. */
const TRANSITIONS = {
  received: {
    heldForEta: "held",
    admitted: "reserved",
    revoked: "finishing",
    unregistered: "finishing",
    refused: "finishing",
  },
  held: { due: "reserved", revoked: "finishing", lost: "settled", handedBack: "finishing" },
  reserved: { accepted: "running", revoked: "finishing", lost: "settled", handedBack: "finishing" },
  running: {
    returned: "finishing",
    threw: "finishing",
    retryAsked: "finishing",
    ignored: "finishing",
    rejected: "finishing",
    requeueAsked: "finishing",
    replaced: "finishing",
    hardLimit: "finishing",
    cancelled: "finishing",
    terminated: "finishing",
    workerLost: "finishing",
  },
  finishing: {
    workerLost: "finishing",
    publishFailed: "finishing",
    retryFailed: "finishing",
    unencodable: "finishing",
  },
  settled: {},
} as const satisfies Record<RequestState, Partial<Record<string, RequestState>>>;

export type RequestEvent =
  | "heldForEta"
  | "admitted"
  | "due"
  | "accepted"
  | "returned"
  | "threw"
  | "retryAsked"
  | "ignored"
  | "rejected"
  | "requeueAsked"
  | "replaced"
  | "hardLimit"
  | "cancelled"
  | "terminated"
  | "workerLost"
  | "revoked"
  | "unregistered"
  | "refused"
  | "lost"
  | "handedBack"
  | "publishFailed"
  | "retryFailed"
  | "unencodable";

/** What of the request and its task decides which acts are due. */
export interface RequestPolicy {
  acksLate: boolean;
  /** Whether a failed late-acked task is acked (else rejected). */
  acksOnFailure: boolean;
  /** Whether a late-acked task over its hard limit is acked (else requeued). */
  acksOnTimeout: boolean;
  /** Whether a late-acked task whose process or thread died is requeued (else it fails). */
  requeuesOnWorkerLost: boolean;
  trackStarted: boolean;
  /** Successes and starts are stored. */
  storesResult: boolean;
  /** Failures and retries are stored. */
  storesErrors: boolean;
  hasCallbacks: boolean;
  hasChain: boolean;
  hasErrbacks: boolean;
  /** The task is part of a chord's header. */
  hasChord: boolean;
  /** What can never come any more because the task was dropped fails: its chord and the steps behind it (in Celery they hang). */
  failsStranded: boolean;
}

export interface Step {
  readonly state: RequestState;
  readonly effects: readonly EffectKind[];
}

const cache = new Map<number, Step>();
const EVENTS: readonly RequestEvent[] = [
  "heldForEta",
  "admitted",
  "due",
  "accepted",
  "returned",
  "threw",
  "retryAsked",
  "ignored",
  "rejected",
  "requeueAsked",
  "replaced",
  "hardLimit",
  "cancelled",
  "terminated",
  "workerLost",
  "revoked",
  "unregistered",
  "refused",
  "lost",
  "handedBack",
  "publishFailed",
  "retryFailed",
  "unencodable",
];
const STATES = Object.keys(TRANSITIONS) as RequestState[];
const eventIndex = new Map(EVENTS.map((event, index) => [event, index]));
const stateIndex = new Map(STATES.map((state, index) => [state, index]));

/** The policy as a number, so that every step is computed once for all requests that are alike. */
export function policyBits(policy: RequestPolicy): number {
  return (
    (policy.acksLate ? 1 : 0) |
    (policy.acksOnFailure ? 2 : 0) |
    (policy.acksOnTimeout ? 4 : 0) |
    (policy.trackStarted ? 8 : 0) |
    (policy.storesResult ? 16 : 0) |
    (policy.storesErrors ? 32 : 0) |
    (policy.hasCallbacks ? 64 : 0) |
    (policy.hasChain ? 128 : 0) |
    (policy.hasErrbacks ? 256 : 0) |
    (policy.requeuesOnWorkerLost ? 512 : 0) |
    (policy.hasChord ? 1024 : 0) |
    (policy.failsStranded ? 2048 : 0)
  );
}

function policyOf(bits: number): RequestPolicy {
  const bit = (mask: number) => (bits & mask) !== 0;
  return {
    acksLate: bit(1),
    acksOnFailure: bit(2),
    acksOnTimeout: bit(4),
    trackStarted: bit(8),
    storesResult: bit(16),
    storesErrors: bit(32),
    hasCallbacks: bit(64),
    hasChain: bit(128),
    hasErrbacks: bit(256),
    requeuesOnWorkerLost: bit(512),
    hasChord: bit(1024),
    failsStranded: bit(2048),
  };
}

/** The next state and the acts that are due, in their order. Equal arguments give the same (frozen) value. */
export function step(state: RequestState, event: RequestEvent, bits: number): Step {
  const key = (((stateIndex.get(state) ?? 0) * 32 + (eventIndex.get(event) ?? 0)) << 12) | bits;
  let known = cache.get(key);
  if (known === undefined) {
    const row: Partial<Record<string, RequestState>> = TRANSITIONS[state];
    const next = Object.hasOwn(row, event) ? row[event] : undefined;
    if (next === undefined) throw new TypeError(`a ${state} request cannot be told ${event}`);
    known = Object.freeze({ state: next, effects: Object.freeze(effectsOf(event, policyOf(bits))) });
    cache.set(key, known);
  }
  return known;
}

/** A list in which what does not apply is left out. */
function due(...entries: readonly (EffectKind | false)[]): EffectKind[] {
  return entries.filter((entry) => entry !== false);
}

function effectsOf(event: RequestEvent, policy: RequestPolicy): EffectKind[] {
  const { acksLate, storesResult, storesErrors, hasCallbacks, hasChain, hasErrbacks, hasChord, failsStranded } = policy;
  const stranded: EffectKind[] = failsStranded && (hasChord || hasChain) ? ["fail-stranded"] : [];
  const failure = (...end: readonly EffectKind[]): EffectKind[] =>
    due(
      storesErrors && "store-failure",
      hasChord && "fail-chord-part",
      hasChain && "fail-chain",
      hasErrbacks && "publish-errbacks",
      ...end,
    );
  /** request.py `on_failure`: what is rejected says so before it says that it failed. */
  const settled = (settle: "ack" | "reject" | "requeue"): EffectKind[] => {
    if (!acksLate || settle === "ack") return due(acksLate && "ack", "emit-failed");
    return [settle, settle === "reject" ? "emit-rejected" : "emit-requeued", "emit-failed"];
  };
  switch (event) {
    case "accepted":
      return due(!acksLate && "ack", "emit-started", policy.trackStarted && storesResult && "store-started");
    case "returned":
      // trace.py: callbacks and the next link are sent before mark_as_done; request.py acks after it.
      return due(
        hasCallbacks && "publish-callbacks",
        hasChain && "publish-chain",
        storesResult && "store-success",
        hasChord && "return-chord-part",
        acksLate && "ack",
        "emit-succeeded",
      );
    case "threw":
    case "publishFailed":
    case "unencodable":
      return failure(...settled(policy.acksOnFailure ? "ack" : "reject"));
    case "hardLimit":
      return failure(...settled(policy.acksOnTimeout ? "ack" : "requeue"));
    case "workerLost":
      if (acksLate && policy.requeuesOnWorkerLost) return ["requeue", "emit-requeued"];
      return failure(...settled(policy.acksOnFailure ? "ack" : "reject"));
    case "rejected":
    case "retryFailed":
      // Since 5.7 a Reject without requeue is a failure whose message is rejected.
      return failure("emit-failed", ...due(acksLate && "reject", acksLate && "emit-rejected"));
    case "requeueAsked":
      // Acked before it started, it will not come back.
      return acksLate
        ? ["requeue", "emit-requeued"]
        : due(failsStranded && storesErrors && "store-failure", ...stranded);
    case "retryAsked":
      return due("publish-retry", storesErrors && "store-retry", acksLate && "ack", "emit-retried");
    case "ignored":
      return due(...stranded, acksLate && "ack");
    case "replaced":
      // The replacement has the task's id, and takes over its place in chain and chord.
      return due("publish-replacement", acksLate && "ack");
    case "cancelled":
      // Cold shutdown: late-acked work goes back to its queue, early-acked work is reported as RETRY (behaviour 1.15).
      return acksLate
        ? ["emit-cancelled", "requeue"]
        : due("emit-cancelled", storesErrors && "store-retry", ...stranded);
    case "revoked":
      return due(
        "emit-revoked",
        (storesResult || storesErrors) && "store-revoked",
        hasChord && "revoke-chord-part",
        hasChain && failsStranded && "fail-chain",
        "ack",
      );
    case "terminated":
      // The same, of what was running: without late acks the message was acked when it started.
      return due(
        "emit-revoked",
        (storesResult || storesErrors) && "store-revoked",
        hasChord && "revoke-chord-part",
        hasChain && failsStranded && "fail-chain",
        acksLate && "ack",
      );
    case "unregistered":
      return ["reject", "store-failure"];
    case "refused":
      return ["reject"];
    case "handedBack":
      return ["requeue"];
    default:
      return [];
  }
}
