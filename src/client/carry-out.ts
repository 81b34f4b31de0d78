/**
 * Carries out a canvas plan: every message is made first, so that what has no form sends nothing at all; then chords are made
 * countable; then all messages go out, in the order of the plan, and are awaited together. The event loop is served between slices of
 * a large plan.
 * wire: celery-behaviour 2.1, 2.5; celery/canvas.py `_apply_tasks`, celery/backends/base.py `apply_chord`, `fallback_chord_unlock`.
 */
import { planApply } from "../../protocol/celery/canvas/apply.ts";
import { withoutChunks } from "../../protocol/celery/canvas/chunks.ts";
import { planFreeze } from "../../protocol/celery/canvas/freeze-plan.ts";
import type { CanvasPlan, PlanContext, PlannedChord, PlannedTask } from "../../protocol/celery/canvas/plan.ts";
import { planAddToChord, planReplace, type Replaced } from "../../protocol/celery/canvas/replace.ts";
import { planChordUnlock } from "../../protocol/celery/canvas/unlock.ts";
import type { ResultMeta, ResultTuple } from "../../protocol/celery/result-meta.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { requireChords } from "../result-backends/chord-counter.ts";
import { BackendUnavailable } from "../result-backends/errors.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { before } from "../runtime/before.ts";
import { LONGEST_TIMER_MS } from "../runtime/timer-heap.ts";
import type { AnyTask } from "../tasks/definition.ts";

/** What is given besides the signature: arguments in front of its own, wire-style options over its own. */
export interface ApplyParts {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
  /** The signature was made here, not read from a message. @default false */
  readonly own?: boolean;
  /** The task that sends. */
  readonly parent?: PlanContext["parent"];
  /** Priority of messages that have none. */
  readonly priority?: number | null;
  /** The running task whose place the signature takes (`Task.replace`). */
  readonly replaces?: Replaced;
  /** A replacement's last group is collected wherever it stands. @default false */
  readonly collectsGroups?: boolean;
  /** The running task whose chord it becomes a part of (`Task.add_to_chord`). */
  readonly addsTo?: Replaced;
  /** Done when all messages have their form, before the first is sent. */
  readonly beforeSending?: () => Promise<void>;
  /** Ends the waits for the broker and, where there are chords, for the result store. */
  readonly signal?: AbortSignal | null;
  /** Milliseconds that chords wait for a result store that is away. @default null, for ever */
  readonly storePatienceMs?: number | null;
}

export interface CanvasSent {
  /** Parents included. Null: there was nothing to send, not even an empty group. */
  readonly result: ResultTuple | null;
  /** What becomes a child of the task that sends. */
  readonly children: readonly ResultTuple[];
}

/** Messages of one plan, which only need to be published once all are made. */
export interface Outgoing {
  /** Throws for what has no form. A promise is to be awaited before the next: meanwhile others run. */
  add(step: PlannedTask): Promise<void> | null;
  publish(): Promise<void>;
}

export interface PlanHost {
  readonly backend: ResultBackend<ResultMeta> | null;
  newId(): string;
  replyTo(): string | Promise<string>;
  readonly errbacksOnChordHeader: boolean;
  taskOf(name: string): AnyTask | null;
  messages(replyTo: string, parts: ApplyParts): Outgoing;
  /** The queue that tasks of this name go to when nobody says. */
  defaultQueue(task: string): string;
  exchangeType(queue: string): string | null;
}

export interface Frozen {
  readonly signature: WireSignature;
  readonly result: ResultTuple;
}

/** Ids for all that has none, so that results are known before anything is sent. */
export async function freezeCanvas(signature: WireSignature, host: PlanHost): Promise<Frozen> {
  const { errbacksOnChordHeader } = host;
  const context = { newId: () => host.newId(), replyTo: await host.replyTo(), own: true, errbacksOnChordHeader };
  return planFreeze(withoutChunks(signature), {}, context);
}

export async function applyCanvas(signature: WireSignature, parts: ApplyParts, host: PlanHost): Promise<CanvasSent> {
  const asked = host.replyTo();
  const replyTo = typeof asked === "string" ? asked : await asked;
  const context: PlanContext = {
    newId: () => host.newId(),
    replyTo,
    parent: parts.parent ?? null,
    own: parts.own ?? false,
    collectsGroups: parts.collectsGroups ?? false,
    errbacksOnChordHeader: host.errbacksOnChordHeader,
  };
  const plan = planOf(signature, parts, context);
  const unlocking = await carryOut(plan, context, parts, host);
  return { result: plan.result, children: [...unlocking, ...plan.children] };
}

function planOf(signature: WireSignature, parts: ApplyParts, context: PlanContext): CanvasPlan {
  if (parts.replaces !== undefined) return planReplace(signature, parts.replaces, context).plan;
  if (parts.addsTo !== undefined) return planAddToChord(signature, parts.addsTo, context).plan;
  return planApply(signature, parts, context);
}

/** Resolves with the tasks that unlock chords, which are children of the task that sends. */
async function carryOut(
  plan: CanvasPlan,
  context: PlanContext,
  parts: ApplyParts,
  host: PlanHost,
): Promise<ResultTuple[]> {
  const { backend } = host;
  const unlocking: ResultTuple[] = [];
  if (plan.needsChords) requireChords(backend);
  const chords = backend?.chords;
  const messages = host.messages(context.replyTo, parts);
  const starts: (() => Promise<void>)[] = [];
  for (const step of plan.steps) {
    if (step.kind === "task") {
      const slice = messages.add(step);
      if (slice !== null) await slice;
    } else if (chords !== undefined) {
      const { groupId, size } = step;
      const header: ResultTuple | null = step.kind === "chord" && step.complex ? [[groupId, null], step.header] : null;
      starts.push(() => chords.start(groupId, { size, header }));
    } else if (step.kind === "chord") {
      const unlock = unlockTask(step, context, host);
      messages.add(unlock);
      unlocking.push([[String(unlock.options.task_id), null], null]);
    }
  }
  if (parts.beforeSending !== undefined) starts.push(parts.beforeSending);
  if (starts.length > 0) await begin(starts, parts, backend);
  await messages.publish();
  return unlocking;
}

/** What has to be done before the first message goes. */
async function begin(
  starts: readonly (() => Promise<void>)[],
  { signal, storePatienceMs = null }: ApplyParts,
  backend: ResultBackend<ResultMeta> | null,
): Promise<void> {
  signal?.throwIfAborted();
  const all = Promise.all(starts.map((start) => start()));
  const begun = signal ? before(all, signal) : all;
  if (storePatienceMs === null) {
    await begun;
    return;
  }
  const patience = new AbortController();
  const look = () => {
    const outage = backend?.outage?.() ?? null;
    if (outage !== null) patience.abort(awayFor(storePatienceMs, outage));
  };
  const timer = setInterval(look, Math.min(LONGEST_TIMER_MS, Math.max(storePatienceMs, LEAST_PATIENCE_MS)));
  try {
    await before(begun, patience.signal);
  } finally {
    clearInterval(timer);
  }
}

/** One answer of a store that is there takes no longer. */
const LEAST_PATIENCE_MS = 250;

function awayFor(ms: number, outage: Error): BackendUnavailable {
  const message = `the result store has been away for ${ms / 1000} s, so that no chord was sent: ${outage.message}`;
  return new BackendUnavailable(message, { cause: outage });
}

/** The task that looks again and again whether the header has ended goes where the body goes. */
function unlockTask(chord: PlannedChord, context: PlanContext, host: PlanHost): PlannedTask {
  const { options, task: name } = chord.body;
  const task = host.taskOf(name);
  const queue = typeof options.queue === "string" ? options.queue : (task?.behaviour.queue ?? host.defaultQueue(name));
  // A body that is not known here counts as having priority 0, one that is known as having its own or none.
  const priority = task === null ? 0 : (task.behaviour.priority ?? null);
  return planChordUnlock(chord, { queue, priority, exchangeType: host.exchangeType(queue) }, context);
}
