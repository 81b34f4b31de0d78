/** Pauses, state, children, metadata, deadlines, what a task knows of its request. */
import type { Case } from "../case.ts";

const zigzag = (hops: number) => Array.from({ length: hops }, (_, hop) => (hop % 2 === 0 ? "left" : "right"));

export const flowCases: readonly Case[] = [
  { name: "pause/once", request: { task: "pause", args: [1] } },
  { name: "pause/ten times", request: { task: "pause", args: [10] } },
  { name: "pause/every call of the state", request: { task: "checkpoints" } },
  { name: "pause/resumed on the other worker", request: { task: "relay", args: [2] }, uncounted: true },
  { name: "pause/back and forth between two workers", request: { task: "relay", args: [6] }, uncounted: true },
  {
    name: "pause/with metadata and a deadline",
    request: { task: "pause", args: [2], metadata: { who: "me" }, deadline: 60 },
  },

  { name: "children/at once", request: { task: "spawn", args: [3] } },
  { name: "children/one by one", request: { task: "one_by_one", args: [3] } },
  { name: "children/none", request: { task: "spawn", args: [0] } },
  { name: "children/a tree of depth 4 and width 2", request: { task: "tree", args: [4, 2] } },
  { name: "children/ten deep", request: { task: "tree", args: [10] } },
  { name: "children/from worker to worker and back", request: { task: "zigzag", args: [zigzag(6)] } },
  {
    name: "children/submitted and left alone",
    request: { task: "submits", args: [3] },
    steps: [{ ended: true }, { until: "completed", times: 4 }],
  },
  { name: "children/gathered", request: { task: "gathers", args: [3] } },
  { name: "children/gathered, one fails", request: { task: "gathers", args: [3, 1] } },
  { name: "children/gathered with errors", request: { task: "gathers", args: [3, 1, true] } },
  { name: "children/one fails its parent", request: { task: "parent", args: ["fixture.fail", ["child"]] } },
  {
    name: "children/a failure that the parent catches",
    request: { task: "parent", args: ["fixture.fail", ["child"], true] },
  },
  { name: "children/an invalid child", request: { task: "parent", args: ["fixture.add", ["one"]] } },
  { name: "children/an unknown child", request: { task: "parent", args: ["fixture.nobody_knows", []] } },
  { name: "children/one that pauses", request: { task: "parent", args: ["fixture.pause", [2]] } },
  {
    name: "children/what a child knows",
    request: { task: "parent", args: ["fixture.request", [], false, { of: "the child" }, 7] },
  },

  { name: "request/what a task knows", request: { task: "request" } },
  {
    name: "request/all options",
    request: {
      task: "request",
      metadata: { who: "me", n: [1, { x: null }] },
      deadline: 90,
      queue: "left",
      priority: 9,
      kwargsRepr: "secret",
    },
  },
  { name: "request/a deadline in days", request: { task: "request", deadline: "P1DT2H1.5S" } },
  { name: "request/a deadline as an instant", request: { task: "request", deadline: "2090-01-02T03:04:05.678900Z" } },
  { name: "request/a deadline with a zone", request: { task: "request", deadline: "2090-01-02T03:04:05+02:00" } },
  {
    name: "request/the arguments as text",
    request: {
      task: "echo",
      args: [{ text: "caf\u00e9 'x' \"y\"", none: null, yes: true, list: [1.5, []] }],
      kwargs: {},
    },
  },
  {
    name: "request/long arguments as text",
    request: { task: "keywords", args: ["x".repeat(100), "y"], kwargs: { flag: "z".repeat(70) } },
  },

  {
    name: "metadata/of the request",
    request: { task: "slow", args: [0], metadata: { who: "me", caf\u00e9: "\u6f22", n: [1, 2.5, null, true] } },
  },
  {
    name: "metadata/of the task",
    request: { task: "metadata", args: [{ a: 1, text: "caf\u00e9" }], metadata: { a: 0, b: 2 } },
  },
  {
    name: "metadata/of the client, afterwards",
    request: { task: "slow", args: [0] },
    steps: [{ ended: true }, { metadata: { late: "x" }, by: "self" }],
  },
  {
    name: "metadata/of the other client, afterwards",
    request: { task: "slow", args: [0], metadata: { late: 1 } },
    steps: [{ ended: true }, { metadata: { late: 2, more: {} }, by: "other" }],
  },

  { name: "deadline/kept", request: { task: "slow", args: [0.01], deadline: 60 } },
  { name: "deadline/of a duration, missed", request: { task: "slow", args: [60], deadline: 0.3 } },
  { name: "deadline/of a duration as text, missed", request: { task: "slow", args: [60], deadline: "PT0.3S" } },
  { name: "deadline/an instant long gone", request: { task: "slow", args: [60], deadline: "2020-01-01T00:00:00Z" } },
  { name: "deadline/an instant far away", request: { task: "slow", args: [0.01], deadline: "2090-01-01T00:00:00Z" } },
  { name: "services/of a function and of a class", request: { task: "services" } },
];
