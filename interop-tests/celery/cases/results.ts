/** What is stored, what is not, and what is seen before the end. */
import type { CallCase, SurvivalCase } from "../case.ts";

export const resultCases: readonly (CallCase | SurvivalCase)[] = [
  {
    kind: "call",
    name: "ignored results/the call says so",
    task: "fixture.record",
    args: '["ran-$ID"]',
    options: { ignore_result: true },
    expect: { absent: true, records: ["ran-$ID $LANG"] },
  },
  {
    kind: "call",
    name: "ignored results/the task says so",
    task: "fixture.not_stored",
    args: "[1]",
    expect: { absent: true },
  },
  {
    kind: "call",
    name: "ignored results/the call overrules the task",
    task: "fixture.not_stored",
    args: "[1]",
    options: { ignore_result: false },
    expect: { value: "1" },
  },
  { kind: "call", name: "ignored results/the task raises Ignore", task: "fixture.ignored", expect: { absent: true } },
  {
    kind: "call",
    name: "ignored results/a failure is ignored too",
    task: "fixture.fail",
    args: '["ValueError", "unseen"]',
    options: { ignore_result: true },
    expect: { absent: true },
  },
  {
    kind: "held",
    name: "custom states/a state of the task's own is seen while it runs",
    task: "interop.halfway",
    args: '["HALFWAY", {"done": 1, "of": 2, "note": "\\u00e9"}, "$FOLDER"]',
    expect: { value: '"whole"', during: { state: "HALFWAY", value: '{"done": 1, "of": 2, "note": "\\u00e9"}' } },
  },
  {
    kind: "held",
    name: "custom states/PROGRESS with a number",
    task: "interop.halfway",
    args: '["PROGRESS", 0.5, "$FOLDER"]',
    expect: { value: '"whole"', during: { state: "PROGRESS", value: "0.5" } },
  },
  {
    kind: "call",
    name: "custom states/several states before the value",
    task: "fixture.progress",
    args: '[["ONE", "TWO", "THREE"]]',
    expect: { value: "3" },
  },
  {
    kind: "call",
    name: "late acks/a rejected message comes back marked as redelivered",
    task: "fixture.reject_until_redelivered",
    expect: { value: '"redelivered"' },
  },
  {
    kind: "call",
    name: "late acks/a message rejected for good stores a failure",
    task: "fixture.reject",
    expect: {
      raises: { type: "Reject", module: "celery.exceptions", args: ["rejected by the fixture", false] },
    },
  },
  {
    kind: "survival",
    name: "late acks/another worker finishes what a killed one held",
    expect: { fields: { lang: "$LANG", redelivered: true } },
    control: "the languages are the point",
  },
  {
    kind: "call",
    name: "unknown tasks/are refused with NotRegistered",
    task: "interop.nobody_knows",
    args: "[1]",
    expect: { raises: { type: "NotRegistered", module: "celery.exceptions", args: ["interop.nobody_knows"] } },
  },
  {
    kind: "call",
    name: "unknown tasks/whatever their arguments are",
    task: "grüße.welt",
    args: `["${"x".repeat(100_000)}"]`,
    kwargs: '{"__proto__": 1}',
    expect: { raises: { type: "NotRegistered", module: "celery.exceptions", args: ["grüße.welt"] } },
  },
];

/** Steps in two languages; TypeScript's client sends the chain as it travels. */
const step = (task: string, args: readonly unknown[], queue: string) => ({
  task,
  args,
  kwargs: {},
  options: { queue, task_id: `${queue}-$ID` },
  subtask_type: null,
  immutable: false,
});

export const linkCases: readonly CallCase[] = [
  {
    kind: "call",
    name: "links/a callback in the other language gets the value",
    task: "fixture.identity",
    args: '["linked-$ID"]',
    options: { link: [step("fixture.record", [], "$OTHERQUEUE")] },
    expect: { value: '"linked-$ID"', records: ["linked-$ID $OTHERLANG"] },
  },
  {
    kind: "call",
    name: "links/two callbacks, one in each language",
    task: "fixture.identity",
    args: '["both-$ID"]',
    options: { link: [step("fixture.record", [], "$OTHERQUEUE"), step("fixture.record", [], "$QUEUE")] },
    expect: { value: '"both-$ID"', records: ["both-$ID python", "both-$ID js"] },
  },
  {
    kind: "call",
    name: "links/an errback in the other language is told the id",
    task: "fixture.fail",
    args: '["ValueError", "told"]',
    options: { link_error: [step("fixture.on_error", [], "$OTHERQUEUE")] },
    expect: { raises: { type: "ValueError", args: ["told"] }, records: ["errback $ID"] },
  },
  {
    kind: "call",
    name: "links/a chain goes to the other language and back",
    task: "fixture.identity",
    args: '["chained-$ID"]',
    options: { chain: [step("fixture.record", [], "$QUEUE"), step("fixture.identity", [], "$OTHERQUEUE")] },
    expect: { value: '"chained-$ID"', records: ["chained-$ID $LANG"] },
  },
];
