/** What may be passed to `app.control`: a command to a whole fleet is checked before it leaves. */
import { parseRate } from "../../protocol/celery/rate.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { InvalidBroadcast } from "../control/errors.ts";
import type { Reply } from "../control/mailbox.ts";
import { checkPattern } from "../control/matcher.ts";
import {
  bool,
  count,
  isPlainObject,
  type Kind,
  mismatch,
  nullable,
  number,
  oneOf,
  structured,
  text,
} from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { didYouMean } from "../settings/suggest.ts";

/** Whom a control message addresses, and whether it is to be answered. */
export interface ControlOptions {
  /** Node names such as `celery@host`. @default every worker */
  destination?: string | readonly string[] | null;
  /** Workers whose node name fits; together with `matcher`. */
  pattern?: string | null;
  /** How `pattern` is read: `glob`, or `pcre`, a regular expression. */
  matcher?: "glob" | "pcre" | null;
  /** Wait for the replies. @default false for what changes something, true for `ping` and `inspect` */
  reply?: boolean;
  /** Seconds of silence after which no more replies are expected. @default 1 */
  timeout?: number;
  /** Replies after which nothing more is waited for. @default when all destinations have replied */
  limit?: number | null;
  /** Called with each reply as it comes. */
  callback?: ((reply: Reply) => void) | null;
  /** False: wait the whole time, also when every worker that is known has replied. @default true */
  early?: boolean;
  signal?: AbortSignal;
}

/** What goes along with a command of any name. Celery: `control.broadcast`. */
export interface BroadcastOptions extends ControlOptions {
  /** Keyword arguments of the command. */
  arguments?: Readonly<Record<string, unknown>>;
}

/** How tasks are revoked: by default what runs goes on. Celery: `control.revoke`. */
export interface RevokeOptions extends ControlOptions {
  /** Also end the task where it runs. @default false */
  terminate?: boolean;
  /** The signal for that, by name. @default "SIGTERM" */
  signalName?: string;
}

/** Where a queue that workers begin to consume is bound, if they do not know it. Celery: `control.add_consumer`. */
export interface AddConsumerOptions extends ControlOptions {
  exchange?: string | null;
  exchangeType?: "direct" | "topic" | "fanout" | "headers";
  routingKey?: string | null;
  /** Further options of Kombu's queues: `durable`, `auto_delete`, `expires`, `message_ttl`, `max_priority`, `queue_arguments`, … */
  options?: Readonly<Record<string, unknown>>;
}

/** One text, or an array of them; an empty array too. */
const textOrTexts = (what: string): Kind<unknown> =>
  structured(what, (value, at) => {
    const right = (Array.isArray(value) ? value : [value]).every((one) => typeof one === "string" && one !== "");
    if (!right) throw mismatch(at, what, value);
  });

const timeout = structured("a number of seconds, above 0", (value, at) => {
  if (!(typeof value === "number" && value > 0 && value <= 2_000_000)) {
    throw new ImproperlyConfigured(`${at}: timeout is a number of seconds, above 0`);
  }
});

/** A plain object whose members are the command's business. */
const record = (what: string): Kind<unknown> =>
  structured(what, (value, at) => {
    if (!isPlainObject(value)) throw mismatch(at, what, value);
  });

export const anyFunction: Kind<unknown> = structured("a function", (value, at) => {
  if (typeof value !== "function") throw mismatch(at, "a function", value);
});

export const abortSignal: Kind<unknown> = structured("an AbortSignal", (value, at) => {
  if (!(value instanceof AbortSignal)) throw mismatch(at, "an AbortSignal", value);
});

const NODE_NAMES = "an array of node names such as celery@host";
export const nodeNames: Kind<unknown> = structured(NODE_NAMES, (value, at) => {
  const right = (Array.isArray(value) ? value : [value]).every((one) => typeof one === "string" && one !== "");
  if (!right) throw new InvalidBroadcast(`${at}: destination is ${NODE_NAMES}`);
});
export const commandArguments = record("an object of the command's arguments by name");

/** Options of every command. */
const CONTROL: OptionKinds = {
  destination: nullable(nodeNames),
  pattern: nullable(text),
  matcher: nullable(oneOf(["glob", "pcre"])),
  reply: bool,
  timeout,
  limit: nullable(count()),
  callback: nullable(anyFunction),
  early: bool,
  signal: abortSignal,
};

/** Options that single commands have beside these. */
const MORE = {
  broadcast: { arguments: commandArguments },
  revoke: { terminate: bool, signalName: text },
  terminate: { signalName: text },
  addConsumer: {
    exchange: nullable(text),
    exchangeType: text,
    routingKey: nullable(text),
    options: record("an object of a queue's options"),
  },
  poolRestart: { modules: nullable(textOrTexts("an array of module names")), reload: bool },
} satisfies Readonly<Record<string, OptionKinds>>;

type WithMore = keyof typeof MORE;

/** Throws `ImproperlyConfigured` for options that are none, and for a pattern that no node could match. */
export function checkControlOptions(options: unknown, at: string, more?: WithMore): asserts options is ControlOptions {
  checkOptionObject(options, more === undefined ? CONTROL : { ...CONTROL, ...MORE[more] }, at);
  const { pattern, matcher } = options as ControlOptions;
  if ((pattern == null) !== (matcher == null)) {
    throw new ImproperlyConfigured(`${at}: pattern and matcher go together`);
  }
  if (pattern == null || matcher == null) return;
  const wrong = checkPattern(pattern, matcher);
  if (wrong !== null) throw new ImproperlyConfigured(`${at}: option pattern: ${wrong}`);
}

const OPTION_NAMES = Object.keys(CONTROL);

/** Options that stand where an argument should: a command that was to go to one node would go to all. */
function misplaced(value: unknown): string {
  if (!isPlainObject(value)) return "";
  const found = Object.keys(value).find((name) => OPTION_NAMES.includes(name));
  return found === undefined ? "" : `; options such as ${found} come last, in an object of their own`;
}

/** An argument of a command, by the name it has there. */
export function checkArgument(value: unknown, kind: Kind<unknown>, at: string): void {
  try {
    kind.parse(value, at);
  } catch (error) {
    const hint = misplaced(value);
    if (hint === "" || !(error instanceof ImproperlyConfigured)) throw error;
    const Refusal = error instanceof InvalidBroadcast ? InvalidBroadcast : ImproperlyConfigured;
    throw new Refusal(`${error.message}${hint}`);
  }
}

export const taskName: Kind<unknown> = { ...text, what: "the name of a task" };
export const queueName: Kind<unknown> = { ...text, what: "the name of a queue" };
export const someText: Kind<unknown> = text;
export const taskIds = textOrTexts("the id of a task, or an array of ids");
export const slots: Kind<unknown> = count({ unit: "slots" });
export const flag: Kind<unknown> = bool;
export const wholeNumber: Kind<unknown> = count();
export const stamps = record("an object of stamps by the names of their headers");

const RATE = "a rate such as 10/s, 5/m or 2/h, a number of starts a second, or null for none";
export const rate: Kind<unknown> = structured(RATE, (value, at) => {
  if (value === null) return;
  const right = typeof value === "string" || (typeof value === "number" && Number.isFinite(value));
  if (!right || typeof parseRate(value) !== "number" || String(value).trim().startsWith("-"))
    throw mismatch(at, RATE, value);
});

const limit = nullable(number({ min: 0, unit: "seconds" }));

/** What `timeLimit` sets; `at` begins the sentence. */
export function checkTimeLimits(limits: unknown, at: string): void {
  if (isPlainObject(limits)) {
    for (const name of Object.keys(limits)) {
      if (name === "soft" || name === "hard") continue;
      const hint = misplaced({ [name]: 0 }) || didYouMean(name, ["soft", "hard"]);
      throw new ImproperlyConfigured(`${at}: unknown limit ${JSON.stringify(name)}${hint}`);
    }
  }
  checkOptionObject(limits, { soft: limit, hard: limit }, at);
  const { soft, hard } = limits as { soft?: number | null; hard?: number | null };
  if (soft && hard && soft > hard) throw new ImproperlyConfigured(`${at}: soft must be less than or equal to hard`);
}
