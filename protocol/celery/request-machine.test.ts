import { describe, expect, test } from "vitest";
import { type EffectKind, policyBits, type RequestEvent, type RequestPolicy, step } from "./request-machine.ts";

const plain: RequestPolicy = {
  acksLate: false,
  acksOnFailure: true,
  acksOnTimeout: true,
  requeuesOnWorkerLost: false,
  trackStarted: false,
  storesResult: true,
  storesErrors: true,
  hasCallbacks: false,
  hasChain: false,
  hasErrbacks: false,
  hasChord: false,
  failsStranded: false,
};
const late: RequestPolicy = { ...plain, acksLate: true };
const workflow: RequestPolicy = { ...late, hasCallbacks: true, hasChain: true, hasErrbacks: true };

/** One row of Celery's order: what happens to a running task under a policy, and the acts due, in order. */
const rows: [name: string, event: RequestEvent, policy: RequestPolicy, effects: EffectKind[]][] = [
  ["stores an early-acked success", "returned", plain, ["store-success", "emit-succeeded"]],
  ["stores before the late ack", "returned", late, ["store-success", "ack", "emit-succeeded"]],
  [
    "sends callbacks and the next link before the result is visible",
    "returned",
    workflow,
    ["publish-callbacks", "publish-chain", "store-success", "ack", "emit-succeeded"],
  ],
  [
    "returns its chord part after it is stored, also when the result is ignored",
    "returned",
    { ...late, storesResult: false, hasChord: true },
    ["return-chord-part", "ack", "emit-succeeded"],
  ],
  ["does not store an ignored success", "returned", { ...late, storesResult: false }, ["ack", "emit-succeeded"]],
  [
    "stores a failure, fails what follows, tells errbacks, acks",
    "threw",
    workflow,
    ["store-failure", "fail-chain", "publish-errbacks", "ack", "emit-failed"],
  ],
  [
    "stores an ignored task's error when asked to",
    "threw",
    { ...plain, storesResult: false },
    ["store-failure", "emit-failed"],
  ],
  [
    "rejects a late-acked failure without requeue when acks_on_failure is off",
    "threw",
    { ...late, acksOnFailure: false },
    ["store-failure", "reject", "emit-rejected", "emit-failed"],
  ],
  [
    "returns a failed chord part between the stored failure and what follows",
    "threw",
    { ...workflow, hasChord: true, failsStranded: true },
    ["store-failure", "fail-chord-part", "fail-chain", "publish-errbacks", "ack", "emit-failed"],
  ],
  ["acks a hard limit", "hardLimit", late, ["store-failure", "ack", "emit-failed"]],
  [
    "requeues a hard limit when acks_on_timeout is off",
    "hardLimit",
    { ...late, acksOnTimeout: false },
    ["store-failure", "requeue", "emit-requeued", "emit-failed"],
  ],
  [
    "publishes the next attempt before it stores RETRY and acks",
    "retryAsked",
    late,
    ["publish-retry", "store-retry", "ack", "emit-retried"],
  ],
  [
    "stores an ignored task's retry when its errors are to be stored",
    "retryAsked",
    { ...late, storesResult: false },
    ["publish-retry", "store-retry", "ack", "emit-retried"],
  ],
  [
    "stores no retry of an ignored task otherwise",
    "retryAsked",
    { ...late, storesResult: false, storesErrors: false },
    ["publish-retry", "ack", "emit-retried"],
  ],
  ["stores nothing for Ignore", "ignored", late, ["ack"]],
  ["leaves a chord hanging for Ignore as Celery does", "ignored", { ...late, hasChord: true }, ["ack"]],
  [
    "fails the chord of an ignored part before it acks",
    "ignored",
    { ...late, hasChord: true, failsStranded: true },
    ["fail-stranded", "ack"],
  ],
  ["sends a replacement before it acks", "replaced", workflow, ["publish-replacement", "ack"]],
  [
    "leaves chord and chain to a replacement",
    "replaced",
    { ...plain, hasChord: true, hasChain: true, failsStranded: true },
    ["publish-replacement"],
  ],
  ["fails and rejects for Reject", "rejected", late, ["store-failure", "emit-failed", "reject", "emit-rejected"]],
  ["gives the message back for Reject with requeue", "requeueAsked", late, ["requeue", "emit-requeued"]],
  ["has nothing to reject after an early ack", "requeueAsked", plain, []],
  [
    "fails the chord of a part that can no longer go back to its queue",
    "requeueAsked",
    { ...plain, hasChord: true, failsStranded: true },
    ["store-failure", "fail-stranded"],
  ],
  [
    "fails what follows an ignored task",
    "ignored",
    { ...late, hasChain: true, failsStranded: true },
    ["fail-stranded", "ack"],
  ],
  [
    "has nothing to fail behind an ignored task that nothing follows",
    "ignored",
    { ...late, failsStranded: true },
    ["ack"],
  ],
  ["fails a late-acked task whose worker died", "workerLost", late, ["store-failure", "ack", "emit-failed"]],
  [
    "requeues it when reject_on_worker_lost is on",
    "workerLost",
    { ...late, requeuesOnWorkerLost: true },
    ["requeue", "emit-requeued"],
  ],
  ["hands late-acked work back on cold shutdown", "cancelled", late, ["emit-cancelled", "requeue"]],
  ["reports early-acked work as RETRY on cold shutdown", "cancelled", plain, ["emit-cancelled", "store-retry"]],
];

describe("the order of acts", () => {
  test.each(rows)("%s", (_name, event, policy, effects) => {
    expect(step("running", event, policyBits(policy))).toEqual({ state: "finishing", effects });
  });

  test("acks at acceptance, then announces the start", () => {
    expect(step("reserved", "accepted", policyBits({ ...plain, trackStarted: true })).effects).toEqual([
      "ack",
      "emit-started",
      "store-started",
    ]);
    expect(step("reserved", "accepted", policyBits({ ...late, trackStarted: true })).effects).toEqual([
      "emit-started",
      "store-started",
    ]);
  });

  test("announces the revocation, stores REVOKED, then acks, whatever the ack mode", () => {
    expect(step("received", "revoked", policyBits(plain)).effects).toEqual(["emit-revoked", "store-revoked", "ack"]);
    expect(step("received", "revoked", policyBits({ ...late, hasChord: true })).effects).toEqual([
      "emit-revoked",
      "store-revoked",
      "revoke-chord-part",
      "ack",
    ]);
  });

  test("leaves what follows a revoked task pending as Celery does, or fails it", () => {
    const follows = { ...plain, hasChain: true, hasChord: true };
    expect(step("received", "revoked", policyBits(follows)).effects).toEqual([
      "emit-revoked",
      "store-revoked",
      "revoke-chord-part",
      "ack",
    ]);
    expect(step("received", "revoked", policyBits({ ...follows, failsStranded: true })).effects).toEqual([
      "emit-revoked",
      "store-revoked",
      "revoke-chord-part",
      "fail-chain",
      "ack",
    ]);
  });

  test("a failed publish of a good end becomes a failure of the task", () => {
    expect(step("finishing", "publishFailed", policyBits(late)).effects).toEqual([
      "store-failure",
      "ack",
      "emit-failed",
    ]);
    expect(step("finishing", "retryFailed", policyBits(late)).effects).toEqual([
      "store-failure",
      "emit-failed",
      "reject",
      "emit-rejected",
    ]);
  });
});

test("an event that a state does not know names both", () => {
  expect(() => step("settled", "returned", 0)).toThrow("a settled request cannot be told returned");
});

test("no task settles its message twice, under any policy", () => {
  const settles = new Set<EffectKind>(["ack", "reject", "requeue"]);
  const ends: RequestEvent[] = [
    "returned",
    "threw",
    "retryAsked",
    "ignored",
    "rejected",
    "requeueAsked",
    "hardLimit",
    "cancelled",
    "workerLost",
  ];
  for (let bits = 0; bits < 4096; bits++) {
    const accepted = step("reserved", "accepted", bits).effects.filter((effect) => settles.has(effect)).length;
    for (const event of ends) {
      const ended = step("running", event, bits).effects.filter((effect) => settles.has(effect)).length;
      expect(accepted + ended).toBe(1);
    }
  }
});

test("no late-acked task is settled before its result is stored", () => {
  for (let bits = 1; bits < 4096; bits += 2) {
    for (const event of ["returned", "threw", "retryAsked", "rejected", "hardLimit"] as const) {
      const effects = step("running", event, bits).effects.filter((effect) => !effect.startsWith("emit-"));
      const settle = effects.findIndex((effect) => effect === "ack" || effect === "reject" || effect === "requeue");
      expect(settle).toBe(effects.length - 1);
    }
  }
});
