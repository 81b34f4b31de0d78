/**
 * What a worker and a child of its pool say to each other: plain values that a structured clone keeps. Whatever has Python's types
 * (arguments, results, states) travels as Kombu's JSON, in which a task's own values came or will go.
 */
import type { Message } from "../../../protocol/message.ts";
import type { PythonError } from "../../../protocol/mognet/exception.ts";
import type { InvalidArgument } from "../../../protocol/mognet/refusals.ts";
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { DeliveryInfo } from "../../transports/transport.ts";
import type { OutcomeEvent } from "../executor.ts";

/** What a child needs to know before its first job. */
export type ChildInit = CeleryInit | MognetInit;

interface AnyInit {
  /** The module that exports the app or the tasks, as `-A` names it. */
  readonly module: string;
  /** Name of the node. */
  readonly hostname: string;
  readonly validate: boolean;
  readonly keepFloats: boolean;
  readonly maxDepth: number;
  /** Levels that the worker's log takes. */
  readonly logLevels: readonly LogLevelName[];
  /** Say how much memory is in use after every job. */
  readonly saysMemory: boolean;
}

export interface CeleryInit extends AnyInit {
  readonly protocol: "celery";
  readonly accept: readonly string[];
  readonly maxBytes: number;
  readonly maxDecompressedBytes: number;
  readonly inheritPriority: boolean;
  /** The worker's result backend counts the parts of chords. */
  readonly countsChords: boolean;
}

export interface MognetInit extends AnyInit {
  readonly protocol: "mognet";
}

export type LogLevelName = "trace" | "debug" | "info" | "warn" | "error" | "fatal";

export interface Job {
  readonly job: number;
  readonly message: Message;
  readonly info: DeliveryInfo;
  readonly ignoreResult: boolean;
  /** Seconds. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
}

/** A request of Mognet's, for a child. */
export interface MognetJob {
  readonly job: number;
  readonly id: string;
  /** The envelope as it came. */
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, unknown>> | null;
  readonly info: DeliveryInfo;
  /** As it was written at the start. */
  readonly record: MognetResult | null;
}

export type ToChild =
  | { readonly type: "init"; readonly init: ChildInit }
  | ({ readonly type: "job" } & Job)
  | ({ readonly type: "request" } & MognetJob)
  | { readonly type: "abort"; readonly job: number; readonly reason: Reason }
  /** Something about a call that is not answered yet. */
  | { readonly type: "note"; readonly call: number; readonly json: string }
  | { readonly type: "answer"; readonly call: number; readonly answer: Answer }
  /** No job will come any more. */
  | { readonly type: "leave" };

export type Answer = { readonly ok: true; readonly json: string } | { readonly ok: false; readonly error: PackedError };

/** Why `ctx.signal` aborts. */
export type AbortReason =
  | { readonly kind: "softTimeLimit"; readonly seconds: number | null }
  | { readonly kind: "timeLimit"; readonly seconds: number }
  | { readonly kind: "revoked"; readonly id: string; readonly reason: string }
  | { readonly kind: "cancelled"; readonly reason: string };

/** The same of a Mognet task; why its run is over. */
export type MognetReason =
  | { readonly kind: "mognetRevoked"; readonly id: string; readonly reason: string }
  | { readonly kind: "handedBack" }
  | { readonly kind: "startedElsewhere"; readonly node: string | null }
  | { readonly kind: "deadline" };

export type Reason = AbortReason | MognetReason;

interface AnyEnded {
  readonly type: "ended";
  readonly job: number;
  readonly kib: number;
  /** The child takes no other job: something else in it went wrong. */
  readonly last: boolean;
}

export type Ended = AnyEnded & (({ readonly children: string | null } & Ending) | { readonly mognet: MognetEnding });

/** How the body of a Mognet task ended. */
export type MognetEnding =
  /** The document of its value. */
  | { readonly how: "returned"; readonly value: string }
  | { readonly how: "threw"; readonly error: PythonError; readonly text: string }
  | { readonly how: "paused" }
  | { readonly how: "invalid"; readonly errors: readonly InvalidArgument[] };

export type FromChild =
  | { readonly type: "ready"; readonly tasks: readonly string[] }
  /** The tasks cannot be loaded. */
  | { readonly type: "unfit"; readonly error: PackedError }
  | Ended
  | ({ readonly type: "call"; readonly job: number; readonly call: number } & Call)
  | {
      readonly type: "log";
      readonly job: number;
      readonly level: LogLevelName;
      readonly fields: object;
      readonly message: string | undefined;
    }
  /** Something that no task caught; `id` and `task` say whose it was. A promise that was forgotten harms nobody. */
  | {
      readonly type: "stray";
      readonly error: PackedError;
      readonly id: string | null;
      readonly task: string | null;
      readonly ends: boolean;
    };

/** How a body ended. */
export type Ending =
  | { readonly event: "returned"; readonly json: string }
  /** It returned what has no form on the wire. */
  | { readonly event: "returned"; readonly unencodable: string }
  | { readonly event: Exclude<OutcomeEvent, "returned" | "retryAsked" | "replaced">; readonly error: PackedError }
  | { readonly event: "retryAsked"; readonly retry: PackedRetry }
  | { readonly event: "replaced"; readonly signature: string };

export type CeleryMethod = "sendTask" | "apply" | "get" | "updateState" | "addPart" | "sendEvent";
export type MognetMethod = "store" | "submit" | "revoke" | "adjust";

/** What a task asks of its worker. `json` holds the arguments. */
export interface Call {
  readonly method: CeleryMethod | MognetMethod;
  readonly json: string;
}

export interface PackedError {
  /** The Python exception that it is: type, module and arguments as JSON. */
  readonly exception: string;
  readonly traceback: string;
  /** What `String(error)` says. */
  readonly text: string;
  readonly kind: "error" | "reject" | "ignore" | "soft" | "timeout";
  /** One of the errors that the task's `throws` names. */
  readonly expected: boolean;
  /** Of a `Reject`: its requeue. */
  readonly requeue?: boolean;
  /** One of our own that a caller may want to tell apart: its class, whom it is about, and whether trying again may help. */
  readonly fault?: {
    readonly name: string;
    readonly id: string;
    readonly message: string;
    readonly retryable: boolean;
  };
}

export interface PackedRetry {
  readonly exc: PackedError | null;
  /** `countdown` or `eta`. */
  readonly when: string;
  readonly args: string | null;
  readonly kwargs: string | null;
  readonly options: string | null;
  readonly stack: string;
}
