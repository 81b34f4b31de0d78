/**
 * The tasks that every Celery worker knows and a Python client may send. They are registered beside the user's and not listed with
 * them; a user's task of the same name wins. wire: celery-behaviour 2.7; celery/app/builtins.py.
 */
import type { ResultMeta } from "../../../protocol/celery/result-meta.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import type { Log } from "../../runtime/log.ts";
import type { Settings } from "../../settings/settings.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { TaskArgumentError, TaskError } from "../../tasks/errors.ts";
import type { TaskPlan } from "../request.ts";
import type { Chords } from "../workflow/chords.ts";
import { workerContext } from "./arguments.ts";
import { chordUnlock } from "./chord-unlock.ts";
import { chunks, legacyChord, legacyGroup } from "./composite.ts";
import { mapTask, starmapTask } from "./map.ts";

export interface BuiltinHost {
  readonly settings: Settings;
  readonly backend: ResultBackend<ResultMeta> | null;
  readonly chords: Chords | null;
  readonly plans: ReadonlyMap<string, TaskPlan>;
  readonly log: Log;
}

/** Python's NotImplementedError. */
class NotImplemented extends TaskError {
  static readonly python = "builtins.NotImplementedError";
  constructor(message: string) {
    super("NOT_IMPLEMENTED", message);
  }
}

export function builtinTasks(host: BuiltinHost): AnyTask[] {
  return [
    task(ACCUMULATE, (...args: unknown[]) => accumulate(args)),
    task("celery.backend_cleanup", () => cleanUp(host)),
    task("celery.chain", () => {
      throw new NotImplemented("chain is not a real task");
    }),
    legacyChord(),
    chordUnlock(host),
    chunks(),
    legacyGroup(),
    mapTask(host),
    starmapTask(host),
  ];
}

const ACCUMULATE = "celery.accumulate";

/** All arguments as a list, or one of them: what a group that replaced a task comes to. A map calls it with items alone. */
function accumulate(args: readonly unknown[]): unknown {
  const context = workerContext();
  if (context.name !== ACCUMULATE) return args;
  const { index } = context.kwargs;
  const values = context.exactly().args;
  if (index === null || index === undefined) return values;
  const at = Number(index);
  if (!Number.isInteger(index) && typeof index !== "boolean") {
    throw new TaskArgumentError("tuple indices must be integers or slices");
  }
  const place = at < 0 ? args.length + at : at;
  if (place >= 0 && place < args.length) return values[place];
  throw new IndexMissing("tuple index out of range");
}

class IndexMissing extends TaskError {
  static readonly python = "builtins.IndexError";
  constructor(message: string) {
    super("INDEX", message);
  }
}

/** Removes expired results where the store does not do so by itself. */
async function cleanUp({ backend, settings, log }: BuiltinHost): Promise<null> {
  const expires = settings.result_expires ?? 0;
  if (backend?.cleanup === undefined || expires === 0) return null;
  const removed = await backend.cleanup(expires);
  log.info({ removed }, "expired results removed");
  return null;
}
