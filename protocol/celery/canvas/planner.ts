/**
 * The plan while it grows: messages and chord starts in the order of sending, every id settled.
 * wire: celery-wire 1.3, 2.3; celery/app/base.py `send_task`, celery/canvas.py `Signature.apply_async`.
 */
import { type Kwargs, type Options, textOption } from "./draft.ts";
import { linksHideChord } from "./hidden-chord.ts";
import type { CanvasPlan, PlanContext, PlannedStep } from "./plan.ts";
import { Promised, resultTuple } from "./results.ts";
import { intoWire, type Written } from "./wire.ts";

export class Planner {
  readonly context: PlanContext;
  readonly #steps: PlannedStep[] = [];
  readonly #children: Promised[] = [];
  #needsChords = false;

  constructor(context: PlanContext) {
    this.context = context;
  }

  /** One message, whose options these become. `written` is for a body in them that does not change any more. */
  task(name: string, args: readonly unknown[], kwargs: Kwargs, options: Options, written?: Written): Promised {
    const parent = this.context.parent ?? null;
    const id = textOption(options, "task_id") ?? this.context.newId();
    intoWire(options, written);
    options.task_id = id;
    options.root_id = textOption(options, "root_id") ?? (parent === null ? id : parent.rootId || parent.id);
    options.parent_id = textOption(options, "parent_id") ?? parent?.id ?? null;
    options.reply_to = textOption(options, "reply_to") ?? this.context.replyTo;
    if (this.context.own === true) this.#needsChords ||= linksHideChord(options);
    this.#steps.push({ kind: "task", name, args, kwargs, options });
    const result = new Promised(id);
    if (options.add_to_parent !== false) this.#children.push(result);
    return result;
  }

  step(step: PlannedStep): void {
    this.#steps.push(step);
  }

  child(result: Promised): void {
    this.#children.push(result);
  }

  sawChord(): void {
    this.#needsChords = true;
  }

  finish(result: Promised | null): CanvasPlan {
    return {
      steps: this.#steps,
      result: result === null ? null : resultTuple(result),
      children: this.#children.map(resultTuple),
      needsChords: this.#needsChords,
    };
  }
}
