/** Cases of `python-fixtures/check_canvas.py`: their answers and ours in one form, with ids numbered by first appearance. */
import { LovageError } from "../../errors.ts";
import { isRecord } from "../../records.ts";
import type { WireSignature } from "../signature.ts";
import { planApply } from "./apply.ts";
import { planFreeze } from "./freeze-plan.ts";
import type { CanvasPlan, PlanContext, PlannedStep, PlannedTask } from "./plan.ts";
import { planChordUnlock } from "./unlock.ts";

export interface PythonCase {
  op: string;
  name: string;
  signature: WireSignature;
  given?: { args: unknown[]; kwargs: Record<string, unknown>; options: Record<string, unknown> };
  place?: Record<string, unknown>;
  live?: boolean;
  inside?: boolean;
  unlock?: boolean;
  events?: Record<string, unknown>[];
  result?: unknown;
  children?: [[string, unknown], unknown][];
  frozen?: unknown;
  error?: string;
  answer?: unknown;
}

export type Answered = unknown;

const REFUSED = "refused";
const PRESET = /^(py|ts)-\d+$/;
const SAID = [
  "countdown",
  "priority",
  "queue",
  "headers",
  "route_name",
  "add_to_parent",
  "exchange",
  "expires",
  "argsrepr",
];

export function context(one: PythonCase): PlanContext {
  let last = 0;
  return {
    newId: () => `ts-${++last}`,
    replyTo: "py-oid",
    own: one.live === true,
    parent: one.inside === true ? { id: "parent-id", rootId: "parent-root" } : null,
  };
}

export function ours(one: PythonCase): Answered {
  try {
    return numbered(one, ourAnswer(one));
  } catch (error) {
    if (error instanceof LovageError) return REFUSED;
    throw error;
  }
}

export function theirs(one: PythonCase): Answered {
  if (one.error !== undefined) return REFUSED;
  if (one.op === "freeze") return numbered(one, { result: one.result, signature: one.frozen });
  if (one.op === "apply") {
    const { events = [], result } = one;
    // Each `celery.chord_unlock` is a child too, added by whoever sends it.
    const unlocks = new Set(
      events.filter((event) => event.message === "celery.chord_unlock").map((event) => idIn(event)),
    );
    const children = one.children?.filter(([[id]]) => !unlocks.has(id));
    return numbered(one, { steps: pythonSteps(events), result, children });
  }
  return numbered(one, one.answer);
}

function ourAnswer(one: PythonCase): unknown {
  const ids = context(one);
  if (one.op === "freeze") return planFreeze(one.signature, placeOf(one.place ?? {}), ids);
  return planned(one, planApply(one.signature, one.given ?? {}, ids), ids);
}

function placeOf(place: Record<string, unknown>) {
  const text = (value: unknown) => (typeof value === "string" ? value : null);
  return {
    id: text(place._id),
    groupId: text(place.group_id),
    rootId: text(place.root_id),
    groupIndex: typeof place.group_index === "number" ? place.group_index : null,
  };
}

function planned(one: PythonCase, plan: CanvasPlan, ids: PlanContext): unknown {
  const steps = plan.steps.map((step) => ourStep(one, step, ids));
  return { steps, result: plan.result, children: one.inside === true ? plan.children : undefined };
}

function ourStep(one: PythonCase, step: PlannedStep, ids: PlanContext): unknown {
  if (step.kind === "size") return { size: [step.groupId, step.size] };
  if (step.kind === "task") return ourMessage(step);
  const size = [step.groupId, step.size];
  if (one.unlock === true) {
    const route = { queue: "celery", exchangeType: "direct" };
    return { size, unlock: ourMessage(planChordUnlock(step, route, ids)) };
  }
  return { size, body: step.body, header: step.header, interval: step.interval, max_retries: step.maxRetries };
}

function ourMessage(step: PlannedTask): unknown {
  const o = step.options;
  const stamped = Array.isArray(o.stamped_headers) ? o.stamped_headers : null;
  return {
    message: step.name,
    args: step.args,
    kwargs: step.kwargs,
    embed: { callbacks: list(o.link), errbacks: list(o.link_error), chain: o.chain ?? null, chord: o.chord ?? null },
    headers: {
      id: o.task_id,
      group: o.group_id ?? null,
      group_index: o.group_index ?? null,
      root_id: o.root_id,
      parent_id: o.parent_id ?? null,
      retries: o.retries ?? 0,
      replaced_task_nesting: o.replaced_task_nesting ?? 0,
      stamped_headers: stamped,
      stamps: Object.fromEntries((stamped ?? []).map((name: unknown) => [name, o[String(name)]])),
      shadow: o.shadow ?? null,
    },
    reply_to: o.reply_to,
    options: Object.fromEntries(
      SAID.filter((key) => o[key] !== null && o[key] !== undefined).map((key) => [key, o[key]]),
    ),
  };
}

function list(value: unknown): unknown {
  return value === undefined || value === null || Array.isArray(value) ? (value ?? null) : [value];
}

function idIn(message: Record<string, unknown>): unknown {
  return isRecord(message.headers) ? message.headers.id : undefined;
}

/** `apply_chord` and its messages come before the header; the plan has one step, where the size is set. */
function pythonSteps(events: readonly Record<string, unknown>[]): unknown[] {
  const steps: unknown[] = [];
  const starts = new Map<unknown, Record<string, unknown>>();
  for (const event of events) {
    if ("chord" in event) starts.set(event.chord, event);
    else if (event.message === "celery.chord_unlock") starts.set((event.args as unknown[])[0], event);
    else if (Array.isArray(event.size) && starts.has(event.size[0])) {
      const start = starts.get(event.size[0]) as Record<string, unknown>;
      const { interval, max_retries } = isRecord(start.kwargs) ? start.kwargs : {};
      const { body, header } = start;
      steps.push(
        "chord" in start
          ? { size: event.size, body, header, interval, max_retries }
          : { size: event.size, unlock: start },
      );
    } else steps.push(event);
  }
  return steps;
}

/** Ids made on the way become their number; those that the signature came with stay. */
function numbered(one: PythonCase, value: unknown): unknown {
  const given = new Set<string>();
  visitTexts([one.signature, one.given, one.place], (text) => given.add(text));
  const numbers = new Map<string, string>();
  const walk = (part: unknown): unknown => {
    if (typeof part === "string") {
      if (!PRESET.test(part) || given.has(part)) return part;
      const known = numbers.get(part) ?? `#${numbers.size + 1}`;
      numbers.set(part, known);
      return known;
    }
    if (Array.isArray(part)) return part.map(walk);
    if (!isRecord(part)) return part ?? null;
    const keys = Object.keys(part)
      .filter((key) => part[key] !== undefined)
      .sort();
    return Object.fromEntries(keys.map((key) => [key, walk(part[key])]));
  };
  return walk(value);
}

function visitTexts(part: unknown, visit: (text: string) => void): void {
  if (typeof part === "string") visit(part);
  else if (Array.isArray(part)) for (const item of part) visitTexts(item, visit);
  else if (isRecord(part)) for (const item of Object.values(part)) visitTexts(item, visit);
}
