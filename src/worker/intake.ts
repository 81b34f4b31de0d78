/**
 * From a delivery to a decision: the whole table of celery-behaviour 1.2 as one function without side effects.
 * Where Python's worker dies of a message, the message is refused here, with a FAILURE when it has an id.
 */
import { decodeTaskBody } from "../../protocol/celery/chain-tail.ts";
import {
  hasTaskHeader,
  readHead,
  readTask,
  type TaskHead,
  type TaskRequest,
} from "../../protocol/celery/task-message.ts";
import { ContentDisallowed, DecodeError, InvalidTaskError, LovageError } from "../../protocol/errors.ts";
import { parseIso } from "../../protocol/iso-time.ts";
import type { Message } from "../../protocol/message.ts";
import { type DecodeLimits, decodePayload } from "../../protocol/serialization.ts";
import { decompress } from "../runtime/compression.ts";
import type { TaskPlan } from "./request.ts";

export interface IntakeLimits {
  maxBytes: number;
  maxDecompressedBytes: number;
}

export interface IntakeRules {
  accept: ReadonlySet<string>;
  limits: IntakeLimits;
  /** Unix milliseconds of a wall-clock time without offset, in the app's timezone. */
  naiveToEpoch: (epochMsAsIfUtc: number) => number;
  plans: ReadonlyMap<string, TaskPlan>;
  decode: DecodeLimits;
}

/** What it takes to read a message. */
export type ReadingRules = Pick<IntakeRules, "accept" | "limits" | "decode">;

export type Decision =
  | { kind: "task"; task: TaskRequest; plan: TaskPlan; etaMs: number | null; expiresMs: number | null }
  /** Off the queue without a result: Celery acks what it cannot decode and rejects what is no task. */
  | { kind: "drop"; settle: "ack" | "reject"; level: "error" | "warn"; reason: string; error?: unknown }
  /** Off the queue, and told to whoever waits for the id. */
  | { kind: "fail"; head: FailedHead; reason: string; error: unknown }
  | { kind: "unregistered"; head: TaskHead };

export interface FailedHead {
  id: string;
  task: string;
  head: TaskHead | null;
}

/** Decides what happens to a message. Never throws. */
export function admit(message: Message, rules: IntakeRules): Decision {
  if (message.refused !== undefined) return admitRefused(message, `the message cannot be read: ${message.refused}`);
  if (message.headers === null) return drop("reject", "unknown message: it has no headers", undefined, "warn");
  try {
    return hasTaskHeader(message) ? admitHead(message, rules) : admitBody(message, rules);
  } catch (error) {
    // Nothing a peer sends may stop the worker.
    return drop("reject", "the message is not a task that can be run", error);
  }
}

function drop(settle: "ack" | "reject", reason: string, error?: unknown, level: "error" | "warn" = "error"): Decision {
  return { kind: "drop", settle, reason, level, ...(error === undefined ? {} : { error }) };
}

/** What the transport did not read. Where it left us the headers, whoever waits for the id is told. */
function admitRefused(message: Message, reason: string): Decision {
  if (message.headers === null || !hasTaskHeader(message)) return drop("reject", reason);
  try {
    return invalid(readHead(message), new InvalidTaskError(reason));
  } catch (error) {
    return drop("reject", reason, error);
  }
}

/** Protocol 2 and hybrids: the header names the task, so an unknown one is answered before the body is decoded. */
function admitHead(message: Message, rules: IntakeRules): Decision {
  let head: TaskHead;
  try {
    head = readHead(message);
  } catch (error) {
    // No id, or times that cannot be read: Celery rejects these without a result.
    return drop("reject", "invalid task message", error);
  }
  const plan = rules.plans.get(head.task);
  if (plan === undefined) return { kind: "unregistered", head };
  if (message.body.byteLength > rules.limits.maxBytes) {
    const error = new InvalidTaskError(
      `the message body has ${message.body.byteLength} bytes, more than lovage_max_message_bytes (${rules.limits.maxBytes})`,
    );
    return { kind: "fail", head: { id: head.id, task: head.task, head }, reason: error.message, error };
  }
  if (message.contentType === undefined) {
    // Python's worker dies of this one (celery-wire 1.8).
    return invalid(head, new InvalidTaskError("the message has no content type"));
  }
  const payload = decodeBody(message, rules);
  if ("decision" in payload) {
    const { decision } = payload;
    const error = decision.kind === "drop" ? decision.error : null;
    if (!(error instanceof DecodeError && error.beyondUs)) return decision;
    return invalid(head, new InvalidTaskError(`the message cannot be read: ${error.message}`));
  }
  let task: TaskRequest;
  try {
    task = readTask(message, payload.body, head);
  } catch (error) {
    return invalid(head, error);
  }
  return schedule(task, plan, rules);
}

/** Protocol 1: only the decoded body tells. Celery acks content it does not accept here. */
function admitBody(message: Message, rules: IntakeRules): Decision {
  if (message.body.byteLength > rules.limits.maxBytes) {
    return drop("reject", `the message body has ${message.body.byteLength} bytes, more than lovage_max_message_bytes`);
  }
  const payload = decodeBody(message, rules);
  if ("decision" in payload) {
    const { decision } = payload;
    return decision.kind === "drop" ? { ...decision, settle: "ack" } : decision;
  }
  const { body } = payload;
  if (typeof body !== "object" || body === null || Array.isArray(body) || !Object.hasOwn(body, "task")) {
    return drop("reject", "unknown message: neither its headers nor its body name a task", undefined, "warn");
  }
  let task: TaskRequest;
  try {
    task = readTask(message, body);
  } catch (error) {
    return drop("reject", "invalid task message", error);
  }
  const plan = rules.plans.get(task.task);
  if (plan === undefined) return { kind: "unregistered", head: task };
  return schedule(task, plan, rules);
}

function payloadOf(message: Message, rules: ReadingRules, decode: DecodeLimits): unknown {
  return decodePayload(message, {
    accept: rules.accept,
    limits: decode,
    readJson: decodeTaskBody,
    decompress: (mime: string, bytes: Uint8Array) =>
      decompress(mime, bytes, { maxBytes: rules.limits.maxDecompressedBytes }),
  });
}

/**
 * The task read once more with `1.0` and `1` kept apart, for what of it is sent on: another attempt, callbacks, the chain.
 * Handlers get plain numbers, and a float that passes through us must not become an integer in Python.
 */
export function readExactly(task: TaskRequest, message: Message, rules: ReadingRules): TaskRequest {
  const body = payloadOf(message, rules, { ...rules.decode, floats: "keep" });
  return readTask(message, body, task.protocol === 2 ? task : undefined);
}

/** The task as its handler gets it, of a message that was admitted before. Throws what `readTask` throws. */
export function readPlainly(message: Message, rules: ReadingRules): TaskRequest {
  const body = payloadOf(message, rules, rules.decode);
  return readTask(message, body);
}

/** The whole of a task that will not run here; null when it cannot be read. */
export function readIfPossible(head: TaskHead, message: Message, rules: IntakeRules): TaskRequest | null {
  if (message.refused !== undefined || message.contentType === undefined) return null;
  if (message.body.byteLength > rules.limits.maxBytes) return null;
  try {
    const body = payloadOf(message, rules, { ...rules.decode, floats: "keep" });
    return readTask(message, body, hasTaskHeader(message) ? head : undefined);
  } catch (error) {
    if (error instanceof LovageError) return null;
    throw error;
  }
}

function decodeBody(message: Message, rules: IntakeRules): { body: unknown } | { decision: Decision } {
  try {
    return { body: payloadOf(message, rules, rules.decode) };
  } catch (error) {
    if (error instanceof ContentDisallowed) return { decision: drop("reject", "content type not accepted", error) };
    return { decision: drop("ack", "can't decode the message body", error) };
  }
}

function invalid(head: TaskHead, error: unknown): Decision {
  const reason = error instanceof LovageError ? error.message : "invalid task message";
  return { kind: "fail", head: { id: head.id, task: head.task, head }, reason, error };
}

function schedule(task: TaskRequest, plan: TaskPlan, rules: IntakeRules): Decision {
  const etaMs = instant("eta", task.eta, rules);
  if (typeof etaMs === "string") return drop("reject", etaMs);
  const expiresMs = instant("expires", task.expires, rules);
  if (typeof expiresMs === "string") return drop("reject", expiresMs);
  if (Number.isNaN(etaMs) || Number.isNaN(expiresMs)) {
    const error = new InvalidTaskError(
      `eta ${task.eta} or expires ${task.expires} is beyond what a timestamp can hold`,
    );
    return { kind: "fail", head: { id: task.id, task: task.task, head: task }, reason: error.message, error };
  }
  return { kind: "task", task, plan, etaMs, expiresMs };
}

/** Unix milliseconds, NaN when no timestamp can hold it, or the complaint about text that is no time. */
function instant(name: string, text: string | null, rules: IntakeRules): number | null | string {
  if (text === null) return null;
  const parsed = parseIso(text);
  if (parsed === null) return `unparsable ${name} ${JSON.stringify(text)}`;
  if (parsed === "overflow") return Number.NaN;
  return parsed.offsetMinutes === null ? rules.naiveToEpoch(parsed.epochMs) : parsed.epochMs;
}
