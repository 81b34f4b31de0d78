/** Steps that are dropped, and what waits for them: in Celery for ever, with Lovage's default until it is told so. */
import type { Workflow } from "../shape.ts";
import { add, become, chain, chord, echo, group, having, sum, twice } from "./parts.ts";

const ignored = { task: "ignore" };
const expired = having(add(5), { options: { expires: -5 } });

export const dropped: readonly Workflow[] = [
  { name: "dropped/an ignored step of a chain", ends: "TaskRevokedError", shape: chain(ignored, add(3), echo) },
  {
    name: "dropped/an expired step of a chain",
    expires: true,
    ends: "TaskRevokedError",
    shape: chain(add(1), expired, add(3)),
  },
  {
    name: "dropped/a step of a chain in a group",
    ends: "TaskRevokedError",
    shape: group(chain(ignored, add(3)), add(1, 2)),
  },
  {
    name: "dropped/a step before a chord, a group and a chain",
    expires: true,
    ends: "TaskRevokedError",
    shape: chain(expired, chord([twice, sum], sum), group(add(1), chain(add(2), add(3)))),
  },
  { name: "dropped/a step of what replaces a task", ends: "TaskRevokedError", shape: become(chain(ignored, add(3))) },
  { name: "dropped/a part of a chord", ends: "ChordError", shape: chord([ignored, add(1, 2)], sum) },
  {
    name: "dropped/a step of a part of a chord",
    ends: "TaskRevokedError",
    shape: chord([chain(ignored, add(3)), add(1, 2)], sum),
  },
  {
    name: "dropped/a part of a chord in a chain",
    ends: "ChordError",
    shape: chain(chord([ignored, echo], sum), add(3)),
  },
  {
    name: "dropped/the body of a chord",
    ends: "TaskRevokedError",
    shape: chain(chord([add(1), add(2)], ignored), add(3)),
  },
];
