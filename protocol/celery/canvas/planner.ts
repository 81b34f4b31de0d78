/**
 * The plan while it grows: messages and chord starts in the order of sending, every id settled.
 * wire: celery-wire 1.3, 2.3; celery/app/base.py `send_task`, celery/canvas.py `Signature.apply_async`.
 */
import { type Kwargs, type Options, textOption } from "./draft.ts";
import { linksHideChord } from "./hidden-chord.ts";
import type { CanvasPlan, PlanContext, PlannedStep, PlannedTask } from "./plan.ts";
import { Promised, resultTuple } from "./results.ts";
import { intoWire, type Written } from "./wire.ts";

export class Planner {
  readonly context: PlanContext;
  readonly #steps: PlannedStep[] = [];
  readonly #children: Promised[] = [];
  #needsChords = false;
  #latest: PlannedTask | null = null;
  /** The latest has no root but itself. */
  #isRoot = false;

  constructor(context: PlanContext) {
    this.context = context;
  }

  /** One message, whose options these become. `written` is for a body in them that does not change any more. */
  task(name: string, args: readonly unknown[], kwargs: Kwargs, options: Options, written?: Written): Promised {
    const parent = this.context.parent ?? null;
    const id = textOption(options, "task_id") ?? this.context.newId();
    intoWire(options, written);
    options.task_id = id;
    const rootId = textOption(options, "root_id");
    options.root_id = rootId ?? (parent === null ? id : parent.rootId || parent.id);
    options.parent_id = textOption(options, "parent_id") ?? parent?.id ?? null;
    options.reply_to = textOption(options, "reply_to") ?? this.context.replyTo;
    if (this.context.own === true) this.#needsChords ||= linksHideChord(options);
    this.#latest = { kind: "task", name, args, kwargs, options };
    this.#steps.push(this.#latest);
    this.#isRoot = rootId === null && parent === null;
    const result = new Promised(id);
    if (options.add_to_parent !== false) this.#children.push(result);
    return result;
  }

  /** One more message with the options of the one before, in its own place. Not for what becomes a child of the parent. */
  again(
    name: string,
    { args, kwargs }: { readonly args: readonly unknown[]; readonly kwargs: Kwargs },
    { id, groupIndex }: { readonly id: string; readonly groupIndex: number },
  ): void {
    const like = this.#latest;
    const options: Options = { ...like?.options, task_id: id, group_index: groupIndex };
    if (this.#isRoot) options.root_id = id;
    this.#steps.push({ kind: "task", name, args, kwargs, options, like });
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
