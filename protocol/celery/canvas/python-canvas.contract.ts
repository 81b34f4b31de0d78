/** Cases of `python-fixtures/check_canvas.py`: their answers and ours in one form, with ids numbered by first appearance. */
import { LovageError } from "../../errors.ts";
import { isRecord } from "../../records.ts";
import type { WireSignature } from "../signature.ts";
import { planApply } from "./apply.ts";
import { foldedChain, piped } from "./compose.ts";
import { planFreeze } from "./freeze-plan.ts";
import { errorLinked, linked } from "./link.ts";
import type { CanvasPlan, PlanContext, PlannedStep, PlannedTask } from "./plan.ts";
import { planAddToChord, planReplace, type Replaced } from "./replace.ts";
import { stamped, type WireVisitor } from "./stamp.ts";
import { planChordUnlock } from "./unlock.ts";

interface PythonRequest {
  id: string;
  root_id: string;
  callbacks: WireSignature[] | null;
  errbacks: WireSignature[] | null;
  chain: WireSignature[] | null;
  chord: WireSignature | null;
  group: string | null;
  group_index: number | null;
  replaced_task_nesting: number;
}

export interface PythonCase {
  op: string;
  name: string;
  signature: WireSignature;
  given?: { args: unknown[]; kwargs: Record<string, unknown>; options: Record<string, unknown> };
  place?: Record<string, unknown>;
  live?: boolean;
  inside?: boolean;
  unlock?: boolean;
  /** `task_allow_error_cb_on_chord_header` */
  on_header?: boolean;
  events?: Record<string, unknown>[];
  result?: unknown;
  children?: [[string, unknown], unknown][];
  frozen?: unknown;
  error?: string;
  answer?: unknown;
  /** Signatures that are put together, or the parts at which a visitor speaks. */
  parts?: unknown[];
  request?: PythonRequest;
  one_name?: boolean;
  append?: boolean;
  visits?: boolean;
  header?: boolean;
  stamps?: Record<string, unknown>;
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
    errbacksOnChordHeader: one.on_header === true,
    parent: one.request !== undefined ? null : one.inside === true ? { id: "parent-id", rootId: "parent-root" } : null,
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

/** Not an error that Celery raises, but one that happens to it: an empty list's last item, a list's options. */
export function brokenInPython(one: PythonCase): boolean {
  return one.error !== undefined && /^(AttributeError|IndexError)/.test(one.error);
}

export function theirs(one: PythonCase): Answered {
  if (one.error !== undefined) return REFUSED;
  if (one.op === "freeze") return numbered(one, { result: one.result, signature: one.frozen });
  if (one.op === "apply" || one.op === "replace" || one.op === "add_to_chord") {
    const { events = [], result } = one;
    // Each `celery.chord_unlock` is a child too, added by whoever sends it.
    const unlocks = new Set(
      events.filter((event) => event.message === "celery.chord_unlock").map((event) => idIn(event)),
    );
    const children = one.children?.filter(([[id]]) => !unlocks.has(id));
    // A replacement ends its task: there is no result to compare.
    return numbered(one, { steps: pythonSteps(events), result, children });
  }
  return numbered(one, one.op === "stamp" ? withKnownStamps(one.answer) : one.answer);
}

function ourAnswer(one: PythonCase): unknown {
  const ids = context(one);
  if (one.op === "stamp") {
    const calls: string[] = [];
    const how = { visitor: visitorOf(one, calls), append: one.append ?? false };
    return withKnownStamps([stamped(one.signature, one.stamps ?? {}, how), calls]);
  }
  if (one.op === "replace" && one.request !== undefined) {
    const { plan } = planReplace(one.signature, requestOf(one.request), ids);
    return { ...planned(one, plan, ids), result: undefined };
  }
  if (one.op === "add_to_chord" && one.request !== undefined) {
    const { groupId, added, plan } = planAddToChord(one.signature, requestOf(one.request), ids);
    const answer = planned(one, plan, ids);
    return { ...answer, steps: [{ extended: [groupId, added] }, ...answer.steps] };
  }
  if (one.op !== "apply" && one.op !== "freeze") return composed(one, (one.parts ?? []) as WireSignature[]);
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

function composed({ op, on_header }: PythonCase, parts: readonly WireSignature[]): unknown {
  const [first, second] = parts as [WireSignature, WireSignature];
  if (op === "fold") return foldedChain(parts);
  if (op === "or") return piped(first, second);
  return op === "link" ? linked(first, second) : errorLinked(first, second, on_header);
}

function requestOf(request: PythonRequest): Replaced {
  const { callbacks, errbacks, chain, chord } = request;
  return {
    id: request.id,
    rootId: request.root_id,
    group: request.group,
    groupIndex: request.group_index,
    replacedTaskNesting: request.replaced_task_nesting,
    embed: { callbacks, errbacks, chain, chord },
  };
}

function visitorOf(one: PythonCase, calls: string[]): WireVisitor | null {
  if (one.visits !== true) return null;
  const say = (part: string) => (signature: WireSignature) => {
    calls.push(`${part} ${signature.task}`);
    return one.parts?.includes(part) ? { [one.one_name === true ? "st" : `st_${part}`]: part } : undefined;
  };
  return {
    onSignature: say("signature"),
    onGroupStart: say("group"),
    onGroupEnd: say("group end"),
    onChainStart: say("chain"),
    onChainEnd: say("chain end"),
    onChordBody: say("body"),
    onCallback: say("callback"),
    onErrback: say("errback"),
    ...(one.header === true ? { onChordHeaderStart: say("header") } : {}),
  };
}

/** Celery lets names of stamps slip to siblings, without a value (protocol/NOTES.md). */
function withKnownStamps(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(withKnownStamps);
  if (!isRecord(part)) return part;
  const known = Object.entries(part).map(([key, value]) => [
    key,
    key === "stamped_headers" && Array.isArray(value)
      ? value.filter((name: unknown) => Object.hasOwn(part, String(name))).sort()
      : withKnownStamps(value),
  ]);
  return Object.fromEntries(known);
}

function planned(one: PythonCase, plan: CanvasPlan, ids: PlanContext) {
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
  visitTexts([one.signature, one.given, one.place, one.request, one.parts], (text) => given.add(text));
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
