/**
 * Celery's task message: protocol 2 both ways, protocol 1 and hybrids read only.
 * wire: celery-wire 1.1 to 1.9; celery/app/amqp.py `as_task_v2`, celery/worker/strategy.py `proto1_to_proto2`, `hybrid_to_proto2`.
 */
import type { Message } from "../message.ts";
import type { Serializer } from "../serialization.ts";
import type { ChainRest } from "./chain-tail.ts";
import type { WireSignature } from "./signature.ts";

export { encodeTask } from "./task-encoder.ts";
export { hasTaskHeader, InvalidTaskMessage, readHead, readTask } from "./task-reader.ts";

/** The third element of a protocol 2 body. `chain` is in reverse order: the next task is the last element. */
export interface Embed {
  readonly callbacks: readonly WireSignature[] | null;
  readonly errbacks: readonly WireSignature[] | null;
  /** Of a message that was read this may be decoded when first asked for, and throw `DecodeError` or `InvalidTaskError`. */
  readonly chain: readonly WireSignature[] | null;
  readonly chord: WireSignature | null;
  /** The chain in a form that need not be decoded as a whole. */
  readonly tail?: { readonly next: WireSignature; readonly rest: ChainRest } | null;
}

/** What is written there: links behind the next one may be text already. */
export interface EmbedInput extends Partial<Omit<Embed, "chain" | "tail">> {
  readonly chain?: readonly WireSignature[] | ChainRest | null;
}

/** What the message says around the body: known before the body is decoded. */
export interface TaskHead {
  task: string;
  id: string;
  lang: string | null;
  shadow: string | null;
  /** ISO 8601 text as it came. */
  eta: string | null;
  /** ISO 8601 text as it came. */
  expires: string | null;
  group: string | null;
  groupIndex: number | null;
  retries: number;
  /** Seconds. */
  timeLimit: number | null;
  /** Seconds. */
  softTimeLimit: number | null;
  rootId: string;
  parentId: string | null;
  argsRepr: string | null;
  kwargsRepr: string | null;
  origin: string | null;
  ignoreResult: boolean | null;
  replacedTaskNesting: number;
  stampedHeaders: readonly string[] | null;
  stamps: Record<string, unknown>;
  /** Everything else in the headers: custom headers of the caller, `compression`, `redelivered`, … */
  headers: Record<string, unknown>;
}

/** The body of a task message: `[args, kwargs, embed]`. wire: celery/app/amqp.py `as_task_v2`. */
export interface TaskBody {
  args: readonly unknown[];
  kwargs: Record<string, unknown>;
  embed: Embed;
}

/** A whole task, whichever protocol it came in. */
export interface TaskRequest extends TaskHead, TaskBody {
  /** 1 also for a hybrid: a protocol 1 body under protocol 2 headers. */
  protocol: 1 | 2;
  /** Protocol 1: false means that naive times are the worker's local ones. Null: the message does not say (`enable_utc` does). */
  utc: boolean | null;
  replyTo: string | null;
  correlationId: string | null;
  /** The `priority` property; null when absent. */
  priority: number | null;
}

/** What a publisher decides; the rest has Celery's defaults. */
export interface TaskMessageInput {
  task: string;
  id: string;
  args?: readonly unknown[];
  kwargs?: Record<string, unknown>;
  shadow?: string | null;
  eta?: string | null;
  expires?: string | null;
  group?: string | null;
  groupIndex?: number | null;
  retries?: number;
  timeLimit?: number | null;
  softTimeLimit?: number | null;
  /** @default id */
  rootId?: string | null;
  parentId?: string | null;
  /** @default saferepr of args as a tuple */
  argsRepr?: string;
  kwargsRepr?: string;
  origin: string;
  ignoreResult?: boolean | null;
  replacedTaskNesting?: number;
  stampedHeaders?: readonly string[] | null;
  stamps?: Record<string, unknown>;
  embed?: EmbedInput;
  /** Merged at the top level of the headers, last; may overwrite protocol headers as in Celery. */
  headers?: Record<string, unknown>;
  replyTo?: string | null;
  /** @default 2 */
  deliveryMode?: number;
  /** null: absent. @default 0 */
  priority?: number | null;
  /** Milliseconds as decimal text. */
  expiration?: string | null;
  /** Further properties by their AMQP names in camelCase. */
  properties?: Message["properties"];
  serializer: Serializer;
  /** @default 3 (`task_repr_maxlevels`) */
  reprMaxLevels?: number;
  /** `lang` header. @default "js" */
  lang?: string;
}
