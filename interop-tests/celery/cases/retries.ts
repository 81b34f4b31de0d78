/** Retries within a language, to another queue, and on one queue from one language to the other and back. */
import type { CallCase, RelayCase } from "../case.ts";

export const retryCases: readonly (CallCase | RelayCase)[] = [
  {
    kind: "call",
    name: "retries/the third attempt succeeds",
    task: "fixture.retry_until",
    args: "[3, 0.7]",
    expect: { value: "3" },
  },
  {
    kind: "call",
    name: "retries/no attempt is left, and the error is the one given",
    task: "interop.give_up",
    kwargs: '{"max_retries": 1}',
    expect: { raises: { type: "ValueError", args: ["never well"] } },
  },
  {
    kind: "call",
    name: "retries/the last attempt ends at once",
    task: "fixture.retry_exhausted",
    kwargs: '{"max_retries": 2}',
    expect: { raises: { type: "ValueError", args: ["never well"] } },
  },
  {
    kind: "call",
    name: "retries/the next attempt on the queue of the other language",
    task: "interop.switch",
    kwargs: '{"queue": "$OTHERQUEUE"}',
    expect: { fields: { lang: "$OTHERLANG", retries: 1 } },
    control: "the languages are the point",
  },
  {
    kind: "relay",
    name: "retries/attempts of one task on one queue in turn by both languages",
    attempts: {
      "ts-py": ["python", "typescript", "python"],
      "py-ts": ["typescript", "python", "typescript"],
      "ts-ts": ["typescript", "typescript"],
      "py-py": ["python", "python"],
    },
    expect: {},
    control: "the languages are the point",
  },
];
