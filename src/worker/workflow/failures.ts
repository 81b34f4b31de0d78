/**
 * Failures that reach beyond their task: the links behind it, the body of a chord that cannot run. Where Celery leaves something
 * that can never end, it is failed too (`lovage_fail_unreachable`).
 * wire: celery-behaviour 2.3, 2.6; celery/backends/base.py `_fail_chain`, `chord_error_from_stack`, `_handle_group_chord_error`.
 */
import { membersOf } from "../../../protocol/celery/canvas/parts.ts";
import { encodeException } from "../../../protocol/celery/exceptions.ts";
import type { ResultMeta, ResultTuple } from "../../../protocol/celery/result-meta.ts";
import { readSignatureList, type WireSignature } from "../../../protocol/celery/signature.ts";
import { FAILURE, PROPAGATE_STATES } from "../../../protocol/celery/states.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import { newId } from "../../runtime/ids.ts";
import type { Log } from "../../runtime/log.ts";
import type { TaskContext } from "../../tasks/context.ts";
import type { ChordError } from "../../tasks/errors.ts";
import { toRemoteException, tracebackText } from "../../tasks/python-errors.ts";
import { type RecordOptions, resultRecord } from "../result-records.ts";
import type { PartOwner } from "./chords.ts";
import type { Errbacks, FailedTask } from "./errbacks.ts";
import { chordOf, linksOf, resultErrbacks, resultId, textOption } from "./links.ts";

/** The task whose end made us act, as far as it matters to others. */
export interface Origin {
  readonly id: string;
  readonly rootId: string;
  readonly replyTo: string | null;
  readonly priority: number | null;
  /** What it has sent; errbacks of bodies are added. */
  readonly children: ResultTuple[];
  readonly context: TaskContext | null;
}

export interface FailureOptions {
  backend: ResultBackend<ResultMeta>;
  errbacks: Errbacks;
  records: RecordOptions;
  /** `lovage_fail_unreachable` */
  thorough: boolean;
  log: Log;
  returnPart(
    owner: PartOwner,
    part: { state: string; result: unknown },
    chord: () => WireSignature | null,
    origin: Origin,
  ): Promise<void> | undefined;
}

export class Failures {
  readonly #options: FailureOptions;

  constructor(options: FailureOptions) {
    this.#options = options;
  }

  /** Every link that will now never run gets the failure; those that are parts of a chord return them. */
  async failChain(chain: readonly WireSignature[], error: unknown, origin: Origin, store = true): Promise<void> {
    await this.#failLinks(linksOf(chain, this.#options.thorough), error, origin, store);
  }

  async #failLinks(
    links: readonly WireSignature[],
    error: unknown,
    origin: Origin,
    store: boolean | "without traceback",
  ): Promise<void> {
    const members = links.filter((link) => link.options.chord !== undefined);
    const failedBefore = await this.#alreadyFailed(members);
    const traceback = store === true ? tracebackText(error) : null;
    if (store) await Promise.all(links.map((link) => this.#storeLink(link, error, traceback, origin)));
    for (const member of members) {
      const id = textOption(member.options, "task_id");
      if (id !== null && failedBefore.has(id)) continue;
      await this.#returnPart(member, error, origin);
    }
  }

  /** A member that has failed has returned its part. */
  async #alreadyFailed(members: readonly WireSignature[]): Promise<ReadonlySet<string>> {
    const { backend } = this.#options;
    const failed = new Set<string>();
    if (!backend.can.sharedReads) return failed;
    const look = async (id: string | null) => {
      if (id === null) return;
      const record = await backend.get(id);
      if (record !== null && PROPAGATE_STATES.has(record.status)) failed.add(id);
    };
    await Promise.all(members.map(({ options }) => look(textOption(options, "task_id"))));
    return failed;
  }

  #returnPart(member: WireSignature, error: unknown, origin: Origin): Promise<void> | undefined {
    return this.#options.returnPart(ownerOf(member), failedPart(error), () => chordOf(member), origin);
  }

  #storeLink(link: WireSignature, error: unknown, traceback: string | null, origin: Origin): Promise<void> | undefined {
    const { backend, records } = this.#options;
    const id = textOption(link.options, "task_id");
    if (id === null) return undefined;
    const head = {
      id,
      task: link.task,
      args: link.args,
      kwargs: link.kwargs,
      group: textOption(link.options, "group_id"),
      parentId: textOption(link.options, "parent_id"),
      retries: 0,
      stampedHeaders: null,
      stamps: {},
    };
    const failure = { status: FAILURE, exception: toRemoteException(error), traceback };
    const record = resultRecord(head, failure, { ...records, hostname: null });
    return backend.store(id, record, route(link, id, origin));
  }

  /** The body of a chord will not run: its errbacks are told, then it fails, then what would have followed it. */
  async failBody(body: WireSignature, error: ChordError, origin: Origin): Promise<void> {
    const { thorough } = this.#options;
    const failed = this.#bodyId(body);
    if (body.subtask_type === "group") await this.#failGroup(body, error, origin);
    else await this.#failTask(body, failed, error, origin);
    const following = linksOf(readSignatureList(body.options.chain) ?? [], thorough);
    await this.#failLinks(following, error, origin, "without traceback");
    if (!thorough) return;
    // Celery leaves pending what a body consists of, and does not tell the chord that the body is a part of.
    const inner = linksOf([body], true).slice(1);
    const cause = body.subtask_type === "group" ? originalOf(error) : error;
    const own = body.subtask_type === "group" ? new Set(membersOf(body).map(resultId)) : new Set([failed]);
    await this.#failLinks(
      inner.filter((link) => !own.has(textOption(link.options, "task_id"))),
      cause,
      origin,
      true,
    );
    for (const link of body.subtask_type === "group" ? membersOf(body) : [body]) {
      if (chordOf(link) !== null) await this.#returnPart(link, cause, origin);
    }
  }

  /** Celery has a fresh id for a body without one, such as a chord, and leaves what waits for it waiting. */
  #bodyId(body: WireSignature): string {
    return textOption(body.options, "task_id") ?? (this.#options.thorough ? resultId(body) : null) ?? newId();
  }

  async #failTask(body: WireSignature, id: string, error: ChordError, origin: Origin): Promise<void> {
    const errbacks = readSignatureList(body.options.link_error) ?? [];
    let stored: unknown = error;
    try {
      const children = await this.#options.errbacks.call(failedTask(body, id), errbacks, error, origin.context);
      origin.children.push(...children);
    } catch (trouble) {
      stored = trouble;
    }
    await this.#fail(id, stored, body, origin);
  }

  /** Every member with the error that made the chord fail, and once more under the group's own id. */
  async #failGroup(body: WireSignature, error: ChordError, origin: Origin): Promise<void> {
    const { log, errbacks } = this.#options;
    const original = originalOf(error);
    const groupErrbacks = readSignatureList(body.options.link_error) ?? [];
    for (const member of membersOf(body)) {
      const id = resultId(member);
      if (id === null) continue;
      const all = distinct([...resultErrbacks(member), ...groupErrbacks]);
      try {
        const failed = { ...failedTask(member, id), task: "unknown" };
        origin.children.push(...(await errbacks.call(failed, all, original, origin.context)));
      } catch (trouble) {
        log.error({ err: trouble, id }, "errbacks of a chord's body could not be sent");
      }
      await this.#fail(id, original, member, origin);
    }
    const groupId = textOption(body.options, "task_id");
    if (groupId !== null) await this.#fail(groupId, original, body, origin, null);
  }

  async #fail(
    id: string,
    error: unknown,
    signature: WireSignature,
    origin: Origin,
    traceback: string | null = tracebackText(error),
  ): Promise<void> {
    const { backend, records } = this.#options;
    const record: ResultMeta = {
      status: FAILURE,
      result: null,
      exception: toRemoteException(error),
      traceback,
      children: [...origin.children],
      dateDone: records.isoNow(),
      taskId: id,
    };
    await backend.store(id, record, route(signature, id, origin));
  }
}

/** A failure as a part of a chord. */
export function failedPart(error: unknown, state: string = FAILURE): { state: string; result: unknown } {
  return { state, result: encodeException(toRemoteException(error)) };
}

function ownerOf({ options }: WireSignature): PartOwner {
  const index = options.group_index;
  return {
    id: textOption(options, "task_id"),
    group: textOption(options, "group_id"),
    groupIndex: typeof index === "number" ? index : null,
  };
}

function originalOf(error: ChordError): unknown {
  return error.cause instanceof Error ? error.cause : error;
}

function failedTask({ task, args, kwargs }: WireSignature, id: string): FailedTask {
  return { id, task, args, kwargs, rootId: null, parentId: null, group: null, groupIndex: null };
}

function distinct(signatures: readonly WireSignature[]): WireSignature[] {
  const seen = new Map(signatures.map((signature) => [JSON.stringify(signature), signature]));
  return [...seen.values()];
}

function route({ options }: WireSignature, id: string, origin: Origin) {
  return { replyTo: textOption(options, "reply_to") ?? origin.replyTo, correlationId: id };
}
