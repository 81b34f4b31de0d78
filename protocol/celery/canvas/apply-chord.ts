/**
 * A chord: the body is frozen, then the tasks of the header are sent with it; without any task, the body is.
 * wire: celery-wire 2.3, 8.5, celery-behaviour 2.6; celery/canvas.py `_chord.apply_async`, `_chord.run`.
 */
import { InvalidTaskError } from "../../errors.ts";
import { apply, type Call, NO_CALL } from "./apply.ts";
import { applyGroup } from "./apply-group.ts";
import { stripHeaderLinks, unrollChords } from "./chord-tail.ts";
import { asDraft, type Draft, isNothing, newGroup, type Options, recordOf, setOption, textOption } from "./draft.ts";
import { freeze, freezeGroup } from "./freeze.ts";
import { withBodyCallbacks } from "./link.ts";
import { clone } from "./merge.ts";
import type { PlannedChord } from "./plan.ts";
import type { Planner } from "./planner.ts";
import { Promised, resultTuple } from "./results.ts";
import { toWire, type Written } from "./wire.ts";

/** Given to the header; for the chord itself `countdown` would be the time between tries of `celery.chord_unlock`. */
const DELAYS = ["countdown", "eta"] as const;

export function applyChord(chord: Draft, call: Call, planner: Planner): Promised {
  const { task_id, producer, publisher, connection, router, result_cls, ...options } = call.options;
  const { body: givenBody, ...kwargs } = call.kwargs;
  const stored = asDraft(givenBody) ?? chord.members.body;
  if (stored === null) throw new InvalidTaskError("a chord needs a body");
  const delays = taken(options, DELAYS, isNothing);
  const callbacks = taken(options, ["link", "link_error"], () => false);
  const body = clone(stored, { options: bodyOptions(options) });
  const { header } = chord.members;
  const group = Array.isArray(header)
    ? newGroup([...header], { task_id: textOption(chord.options, "task_id") ?? planner.context.newId() })
    : clone(header);
  const merged: Options = { ...chord.options, ...options, ...callbacks };
  for (const key of DELAYS) delete merged[key];
  const bodyId = typeof task_id === "string" ? task_id : textOption(merged, "task_id");
  delete merged.task_id;
  const run: ChordRun = {
    header: group,
    body,
    args: call.args.length > 0 && !chord.immutable ? [...call.args, ...chord.args] : chord.args,
    kwargs: { ...recordOf(chord.members.rest.kwargs), ...kwargs },
    bodyId,
    options: merged,
    delays,
  };
  return runChord(chord, run, planner);
}

export interface ChordRun {
  header: Draft;
  body: Draft;
  args: readonly unknown[];
  kwargs: Readonly<Record<string, unknown>>;
  bodyId: string | null;
  options: Options;
  delays: Options;
}

export function runChord(chord: Draft, run: ChordRun, planner: Planner): Promised {
  const { header } = run;
  const { interval = null, max_retries = null, countdown: _a, eager: _b, app: _c, ...given } = run.options;
  const groupId = textOption(header.options, "task_id") ?? planner.context.newId();
  const rootId = textOption(run.body.options, "root_id");
  const options: Options = { ...chord.options, ...given };
  const delays = { ...taken(options, DELAYS, isNothing), ...run.delays };
  for (const key of DELAYS) delete options[key];
  delete options.task_id;
  const body = withBodyCallbacks(run.body, options, planner.context);
  // Stamps and `group_id` of the body give way here: Celery updates its options without merging.
  for (const [key, value] of Object.entries(bodyOptions(options))) setOption(body.options, key, value);
  if (body.kind === "chain") unrollChords(body, planner.context);
  const bodyResult = freeze(body, { id: run.bodyId ?? planner.context.newId(), groupId, rootId }, planner.context);
  stripHeaderLinks(body);
  delete options.chain;
  delete options.chord;
  header.options.task_id = groupId;
  const { id, results } = freezeGroup(header, { groupId, chord: body, rootId }, planner.context);
  planner.sawChord();
  if (header.members.tasks.length === 0) {
    apply(body, { ...NO_CALL, args: [[]] }, planner);
    bodyResult.parent = new Promised(id, results);
    return bodyResult;
  }
  const written: Written = new Map();
  const start = (countedId: string, size: number): PlannedChord => ({
    kind: "chord",
    groupId: countedId,
    size,
    body: toWire(body, written),
    header: results.map(resultTuple),
    complex: results.some((result) => result.children !== null),
    interval,
    maxRetries: max_retries,
  });
  const call: Call = {
    args: run.args,
    kwargs: run.kwargs,
    options: { ...options, ...delays, task_id: groupId },
    written,
  };
  bodyResult.parent = applyGroup(header, call, planner, start);
  return bodyResult;
}

/** The header task that fires the body is its parent. */
function bodyOptions(options: Readonly<Options>): Options {
  const { parent_id: _unused, ...others } = options;
  return others;
}

/** Takes keys out of options; those for which `dismissed` holds stay. */
function taken(options: Options, keys: readonly string[], dismissed: (value: unknown) => boolean): Options {
  const found: Options = {};
  for (const key of keys) {
    if (!Object.hasOwn(options, key) || dismissed(options[key])) continue;
    found[key] = options[key];
    delete options[key];
  }
  return found;
}
