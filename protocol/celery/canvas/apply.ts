/**
 * `apply_async` of every kind of signature, as a plan.
 * wire: celery-wire 2.3, celery-behaviour 2.1; celery/canvas.py `apply_async` of `Signature`, `_basemap`, `chunks`.
 */
import { InvalidTaskError } from "../../errors.ts";
import { isRecord } from "../../records.ts";
import type { WireSignature } from "../signature.ts";
import { applyChain } from "./apply-chain.ts";
import { applyChord } from "./apply-chord.ts";
import { applyGroup } from "./apply-group.ts";
import { chunkGroup } from "./chunks.ts";
import { type Draft, type Kwargs, type Options, ownOptions, readDraft, withoutNulls } from "./draft.ts";
import { mergeArguments, mergeOptions } from "./merge.ts";
import type { CanvasPlan, Given, PlanContext } from "./plan.ts";
import { Planner } from "./planner.ts";
import type { Promised } from "./results.ts";
import type { Written } from "./wire.ts";

/** What a draft is applied with. The options are the caller's: they are only read. */
export interface Call {
  args: readonly unknown[];
  kwargs: Kwargs;
  options: Readonly<Options>;
  written?: Written;
  /** What of the options tasks get, once it is known. */
  forTasks?: Readonly<Options>;
}

export const NO_CALL: Readonly<Call> = Object.freeze({ args: [], kwargs: {}, options: {} });

/**
 * What `signature.apply_async(args, kwargs, **options)` sends in Celery 5.7, and what it returns. Linear in the signature and in what
 * Celery's wire format repeats. Throws `InvalidTaskError` for what is no signature, and `ImproperlyConfigured` for `link` or
 * `link_error` given to a group.
 */
export function planApply(signature: WireSignature, given: Given, context: PlanContext): CanvasPlan {
  const planner = new Planner(context);
  const own = context.own === true;
  const options = given.options ?? {};
  const call: Call = {
    args: given.args ?? [],
    kwargs: given.kwargs ?? {},
    options: own ? ownOptions(options) : options,
  };
  const draft = readDraft(signature, own);
  return planner.finish(own ? applyOwn(draft, call, planner) : apply(draft, call, planner));
}

/**
 * What a signature of the caller's own sends that has got an id which others wait for. Chunks stay the one task that they are in a
 * message, since a group would never answer for the id: so they are for Celery where it reads them from a message.
 */
export function planPlaced(signature: WireSignature, context: PlanContext): CanvasPlan {
  const planner = new Planner({ ...context, own: true });
  const draft = readDraft(signature, true);
  const run = draft.task === "celery.chunks" ? apply : applyOwn;
  return planner.finish(run(draft, { ...NO_CALL }, planner));
}

/** Null for an empty chain: nothing is sent and there is no result. */
export function apply(draft: Draft, call: Call, planner: Planner): Promised | null {
  switch (draft.kind) {
    case "task":
      return applyTask(draft, call, planner);
    case "chain":
      return applyChain(draft, call, planner);
    case "group":
      return applyGroup(draft, call, planner);
    case "chord":
      return applyChord(draft, call, planner);
  }
}

function applyTask(draft: Draft, call: Call, planner: Planner): Promised {
  call.forTasks ??= taskOptions(call.options);
  const { args, kwargs } = mergeArguments(draft, call.args, call.kwargs);
  return planner.task(draft.task, args, kwargs, mergeOptions(draft.options, call.forTasks), call.written);
}

function taskOptions(given: Readonly<Options>): Readonly<Options> {
  const { route_name: _unused, ...options } = withoutNulls(given);
  return options;
}

/** Maps and chunks keep their Python class only as long as nobody copies or serialises them: alone, and in the hands of their maker. */
function applyOwn(draft: Draft, call: Call, planner: Planner): Promised | null {
  const inner = draft.kind === "task" && isRecord(draft.kwargs.task) ? draft.kwargs.task.task : undefined;
  if (typeof inner !== "string") return apply(draft, call, planner);
  switch (draft.task) {
    case "celery.map":
    case "celery.starmap": {
      const options = mergeOptions(draft.options, withoutNulls(call.options));
      const route = typeof options.route_name === "string" ? options.route_name : inner;
      return planner.task(draft.task, [], draft.kwargs, { ...options, route_name: route });
    }
    case "celery.chunks": {
      const group = chunkGroup(draft.kwargs);
      if (group === null)
        throw new InvalidTaskError("celery.chunks needs a task, an array `it` and a whole number `n` from 1");
      return applyGroup(group, { ...call, options: { route_name: inner, ...call.options } }, planner);
    }
    default:
      return apply(draft, call, planner);
  }
}
