/** What the worker may send. `app` hands it in, so that the worker never meets the client (style: the arrow points right). */
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import type { TaskRequest } from "../../protocol/celery/task-message.ts";
import type { SentTask } from "../tasks/context.ts";

/** What `apply` adds to a signature: arguments in front of its own, and wire-style options (`parent_id`, `chain`, …) over its own. */
export interface ApplyGiven {
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
  options?: Readonly<Record<string, unknown>>;
  /** The task that sends: parent and root of what names none. */
  parent?: { readonly id: string; readonly rootId: string } | null;
  /** Priority of messages that have none. */
  priority?: number | null;
  /** The signature was made here, not read from a message. */
  own?: boolean;
  /** The running task whose place the signature takes: its id, links, chain, group and chord (`Task.replace`). */
  replaces?: TaskRequest;
  /** With `replaces`: the group that the signature ends in is collected under the task's id wherever it stands. @default false */
  collectsGroups?: boolean;
  /** The running task whose chord it becomes a part of (`Task.add_to_chord`). */
  addsTo?: TaskRequest;
  /** Done when all messages have their form, before the first is sent. */
  beforeSending?: () => Promise<void>;
}

export interface Applied {
  /** Parents included. Null: there was nothing to send. */
  readonly result: ResultTuple | null;
  /** What becomes a child of the task that sends. */
  readonly children: readonly ResultTuple[];
}

export interface Outbox {
  /**
   * Sends a task by name with `applyAsync` options in camelCase, those of a signature included (`taskId`, `rootId`,
   * `parentId`, `groupId`, `link`, `chain`, …). Resolves once the broker holds it. Options that came with a message may have
   * names that Lovage does not know.
   */
  applyAsync(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: Record<string, unknown>,
  ): Promise<SentTask>;
  /** The same for the code of a task, whose mistakes in options are errors. */
  sendTask(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: Record<string, unknown>,
  ): Promise<SentTask>;
  /** Sends to a task by its definition: one object of parameters or an array of arguments. */
  send(task: { readonly name: string }, args: unknown, options: Record<string, unknown>): Promise<SentTask>;
  /**
   * What `Signature.apply_async(args, kwargs, **options)` does in a Celery worker, for any signature: plain, chain, group, chord,
   * map, chunks. Resolves once the broker holds all messages.
   */
  apply(signature: WireSignature, given: ApplyGiven): Promise<Applied>;
  /** Throws `ImproperlyConfigured` for options that `sendTask` would refuse; `at` begins its sentence. */
  checkOptions?(at: string, options: Readonly<Record<string, unknown>>): void;
}
