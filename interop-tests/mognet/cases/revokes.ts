/**
 * Revoking, by the client that submitted and by the other one. Of a tree Python leaves what chance decides: a parent that sees the
 * end of its child before it is cancelled itself fails with it, and writes that over REVOKED.
 */
import type { Case } from "../case.ts";

const zigzag = (hops: number) => Array.from({ length: hops }, (_, hop) => (hop % 2 === 0 ? "left" : "right"));
const revokers = ["self", "other"] as const;
const by = { self: "", other: ", by the other client" };

/** What a client leaves that dies between its two steps, in the wrong order: Mognet's worker then leaves it SUSPENDED for ever. */
const messageAlone: Case = {
  name: "revoke/by a message alone",
  request: { task: "slow", args: [60] },
  steps: [
    { until: "run" },
    { state: "RUNNING" },
    { publish: { control: true, hash: null, envelope: { kind: "Revoke", payload: { id: "$ID" } } } },
    { until: "cancelled" },
  ],
  endless: true,
  chance: "REVOKED",
};

export const revokeCases: readonly Case[] = revokers.flatMap((who): Case[] => [
  {
    name: `revoke/a running task${by[who]}`,
    request: { task: "slow", args: [60] },
    steps: [{ until: "run" }, { state: "RUNNING" }, { revoke: who }, { until: "cancelled" }],
  },
  {
    name: `revoke/a request that nobody has taken${by[who]}`,
    request: { task: "slow", args: [60], queue: "idle" },
    steps: [{ revoke: who }],
  },
  {
    name: `revoke/a task that has ended${by[who]}`,
    request: { task: "slow", args: [0] },
    steps: [{ ended: true }, { revoke: who }],
  },
  {
    name: `revoke/a task that has ended, by force${by[who]}`,
    request: { task: "slow", args: [0] },
    steps: [{ ended: true }, { revoke: who, force: true }],
  },
  {
    name: `revoke/a task that failed${by[who]}`,
    request: { task: "fail", args: ["first"] },
    steps: [{ ended: true }, { revoke: who }],
  },
  {
    name: `revoke/a tree across both workers${by[who]}`,
    request: { task: "zigzag", args: [zigzag(4), 60] },
    steps: [{ until: "run", times: 5 }, { revoke: who }],
    chance: "REVOKED",
  },
  {
    name: `revoke/a parent with four children${by[who]}`,
    request: { task: "spawn", args: [4, 60] },
    steps: [{ until: "run", times: 5 }, { revoke: who }, { until: "cancelled", times: 4 }],
    chance: "REVOKED",
  },
  ...(who === "self" ? [messageAlone] : []),
]);
