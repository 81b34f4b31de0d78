/**
 * Arguments against a definition, all complaints at once and where pydantic would put them: positional arguments count from 1, for 0
 * is the context; keywords are named. wire: mognet 5.3; pydantic-core `arguments.rs`.
 */

import type { InvalidArgument } from "../../../protocol/mognet/refusals.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import type { AnySchema, SchemaIssue, SchemaResult } from "../../tasks/standard-schema.ts";

export type Checked =
  /** What the handler is called with, before the context. */
  { ok: true; call: readonly unknown[] } | { ok: false; errors: readonly InvalidArgument[] };

type Loc = string | number;

/** A promise only when a schema is asynchronous. */
export function checkCall(
  task: AnyTask,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  validate: boolean,
): Checked | Promise<Checked> {
  if (task.style === "positional" || task.params === null) return { ok: true, call: args };
  return new Check(args, kwargs, validate).run(task.params);
}

class Check {
  readonly #args: readonly unknown[];
  readonly #kwargs: Readonly<Record<string, unknown>>;
  readonly #validate: boolean;
  readonly #errors: InvalidArgument[] = [];
  readonly #pending: Promise<void>[] = [];
  readonly #values: Record<string, unknown> = {};

  constructor(args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, validate: boolean) {
    this.#args = args;
    this.#kwargs = kwargs;
    this.#validate = validate;
  }

  run(params: Readonly<Record<string, AnySchema>>): Checked | Promise<Checked> {
    const args = this.#args;
    const named = new Set<string>();
    let next = 0;
    let rest: [string, AnySchema] | null = null;
    let more: [string, AnySchema] | null = null;
    for (const [key, schema] of Object.entries(params)) {
      if (key.startsWith("**")) more = [key.slice(2), schema];
      else if (key.startsWith("*")) {
        rest = [key.slice(1), schema];
      } else {
        named.add(key);
        const byPlace = rest === null && next < args.length;
        this.#one(key, schema, byPlace, byPlace ? next++ : -1);
      }
    }
    this.#positionals(rest, next);
    this.#keywords(more, named);
    if (this.#pending.length === 0) return this.#end();
    return Promise.all(this.#pending).then(() => this.#end());
  }

  #end(): Checked {
    return this.#errors.length > 0 ? { ok: false, errors: this.#errors } : { ok: true, call: [this.#values] };
  }

  #one(name: string, schema: AnySchema, byPlace: boolean, place: number): void {
    const given = Object.hasOwn(this.#kwargs, name);
    if (byPlace && given) return this.#complain([name], "Got multiple values for argument", "multiple_argument_values");
    const put = (value: unknown) => {
      this.#values[name] = value;
    };
    if (byPlace) return this.#check(schema, this.#args[place], [place + 1], put);
    if (given) return this.#check(schema, this.#kwargs[name], [name], put);
    // A schema that takes `undefined` has a default.
    this.#check(schema, undefined, [name], put, true);
  }

  #positionals(rest: [string, AnySchema] | null, from: number): void {
    const args = this.#args;
    if (rest === null) {
      for (let at = from; at < args.length; at++) {
        this.#complain([at + 1], "Unexpected positional argument", "unexpected_positional_argument");
      }
      return;
    }
    const [name, schema] = rest;
    const list: unknown[] = args.slice(from);
    this.#values[name] = list;
    for (let at = from; at < args.length; at++) {
      this.#check(schema, args[at], [at + 1], (value) => {
        list[at - from] = value;
      });
    }
  }

  #keywords(more: [string, AnySchema] | null, named: ReadonlySet<string>): void {
    const extra: Record<string, unknown> = {};
    if (more !== null) this.#values[more[0]] = extra;
    for (const [name, value] of Object.entries(this.#kwargs)) {
      if (named.has(name)) continue;
      if (more === null) this.#complain([name], "Unexpected keyword argument", "unexpected_keyword_argument");
      else this.#check(more[1], value, [name], (checked) => putOwn(extra, name, checked));
    }
  }

  #check(schema: AnySchema, value: unknown, loc: Loc[], put: (value: unknown) => void, absent = false): void {
    if (!this.#validate && !absent) return put(value);
    const take = (result: SchemaResult<unknown>) => {
      if (result.issues === undefined) put(result.value);
      else if (absent) this.#complain(loc, "Missing required argument", "missing_argument");
      else for (const issue of result.issues) this.#complain([...loc, ...pathOf(issue)], issue.message, kindOf(issue));
    };
    const result: SchemaResult<unknown> | Promise<SchemaResult<unknown>> = schema["~standard"].validate(value);
    if (result instanceof Promise) this.#pending.push(result.then(take));
    else take(result);
  }

  #complain(loc: readonly Loc[], msg: string, type: string): void {
    // A message holds what its sender likes; what is said of it stays short.
    if (this.#errors.length < 100) this.#errors.push({ loc, msg, type });
  }
}

function putOwn(target: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}

function pathOf(issue: SchemaIssue): Loc[] {
  return (issue.path ?? []).map((part) => {
    const key = typeof part === "object" ? part.key : part;
    return typeof key === "symbol" ? String(key) : key;
  });
}

/** The schema library's own code, where it has one. */
function kindOf(issue: SchemaIssue): string {
  const code: unknown = "code" in issue ? issue.code : "type" in issue ? issue.type : null;
  return typeof code === "string" ? code : "value_error";
}
