/**
 * One definition of a task: a typed stub for those who call it and, with a handler, what a worker runs. Parameters are
 * named and ordered like those of the Python function, so that both languages bind a call alike.
 */
import type { Signature as Parameters, ParamSpec } from "../../protocol/binding.ts";
import { chunksOf, mapOf } from "../../protocol/celery/canvas/compose.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { mismatch } from "../settings/kinds.ts";
import { checkOptionObject } from "../settings/option-object.ts";
import { checkBehaviour, type TaskBehaviour } from "./behaviour.ts";
import { splitCall } from "./call-arguments.ts";
import type { ApplyAsyncOptions } from "./call-options.ts";
import type { TaskContext } from "./context.ts";
import { TaskArgumentError } from "./errors.ts";
import { ownItems, SIGNATURE_PARTS, Signature, type SignatureOptions, taskSignature } from "./signature.ts";
import type { Beginnings, Endings, Missing } from "./signature-types.ts";
import type { AnySchema, SchemaInput, SchemaOutput } from "./standard-schema.ts";

/** Parameter name to schema, in the order of the Python signature. `*name` collects further positional arguments, `**name` further keywords. */
export type ParamSchemas = Readonly<Record<string, AnySchema>>;

/** What `task()` is told: parameters, in the order of Python's signature, the schema of the result, and how the task behaves. */
export interface TaskOptions<P extends ParamSchemas | undefined, S extends AnySchema | undefined>
  extends TaskBehaviour {
  params?: P;
  returns?: S;
}

type Simplify<T> = { [K in keyof T]: T[K] } & {};
type PlainKey<P> = Exclude<keyof P & string, `*${string}`>;
type OptionalKey<P> = {
  [K in PlainKey<P>]: P[K] extends AnySchema ? (undefined extends SchemaInput<P[K]> ? K : never) : never;
}[PlainKey<P>];
type Input<S> = S extends AnySchema ? SchemaInput<S> : never;
type Output<S> = S extends AnySchema ? SchemaOutput<S> : never;

/** What a caller passes: schema inputs, parameters that accept `undefined` are optional. */
export type CallParams<P> = Simplify<
  { [K in Exclude<PlainKey<P>, OptionalKey<P>>]: Input<P[K]> } & { [K in OptionalKey<P>]?: Input<P[K]> } & {
    [K in keyof P as K extends `**${string}` ? never : K extends `*${infer N}` ? N : never]?: readonly Input<P[K]>[];
  } & { [K in keyof P as K extends `**${infer N}` ? N : never]?: Readonly<Record<string, Input<P[K]>>> }
>;

/** What a handler receives: schema outputs. */
export type HandlerParams<P> = Simplify<{
  [K in keyof P as K extends `**${infer N}` ? N : K extends `*${infer N}` ? N : K]: K extends `**${string}`
    ? Record<string, Output<P[K]>>
    : K extends `*${string}`
      ? Output<P[K]>[]
      : Output<P[K]>;
}>;

/** How a definition is run: what the handler is called with. */
export type HandlerStyle = "params" | "positional";

/** What a task is to whoever sends or runs it: `Call` is what a call passes, `Result` what it gives, in the type only. */
export interface TaskType<Call = never, Result = unknown> {
  readonly name: string;
  readonly behaviour: TaskBehaviour;
  /** How a call is bound to the parameters. Null: any arguments are passed on as they came. */
  readonly parameters: Parameters | null;
  readonly params: ParamSchemas | null;
  readonly returns: AnySchema | null;
  readonly handler: TaskHandler | null;
  readonly style: HandlerStyle;
  /** Types only; never present. */
  readonly types?: { readonly call: (call: Call) => void; readonly result: Result };
}

/** A task, with what makes signatures of it. `Call` is an object of parameters, or a tuple of arguments. */
export interface TaskDefinition<Call, Result> extends TaskType<Call, Result> {
  /**
   * A call to be made later: `add.s(2, 3)`, `thumbnail.s({ url })`. Arguments that are missing in front come from what the
   * signature follows in a chain.
   */
  readonly s: SignatureMaker<Call, Result>;
  /** The same, refusing results of what it follows. */
  readonly si: ImmutableSignatureMaker<Call, Result>;
  /** With keywords and options, unchecked. */
  signature(parts?: SignatureParts): Signature<unknown[], Result>;
  /** Runs the task for each item of an array or another iterable in turn, inside one task. */
  map(items: Iterable<FirstArgument<Call>>): Signature<unknown[], Result[]>;
  /** The same with each item's elements as arguments. */
  starmap(items: Iterable<ArgumentList<Call>>): Signature<unknown[], Result[]>;
  /**
   * A group of such tasks, with `size` items each. In a chain, a group or a chord it is, as in Celery, a task that starts that group
   * and gives the ids of its results without waiting for them; it fails when the next step would get these.
   */
  chunks(items: Iterable<ArgumentList<Call>>, size: number): Signature<unknown[], Result[][], "chunks">;
}

export type SignatureMaker<Call, Result> = Call extends readonly unknown[]
  ? <const Given extends Readonly<Endings<Call>>>(...args: Given) => Signature<Beginnings<Call, Given>, Result>
  : <K extends keyof Call = never>(params?: Pick<Call, K>) => Signature<Missing<Call, K>, Result>;

export type ImmutableSignatureMaker<Call, Result> = Call extends readonly unknown[]
  ? (...args: Call) => Signature<unknown[], Result>
  : Record<never, never> extends Call
    ? (params?: Call) => Signature<unknown[], Result>
    : (params: Call) => Signature<unknown[], Result>;

type FirstArgument<Call> = Call extends readonly unknown[] ? Call[0] : unknown;
type ArgumentList<Call> = Call extends readonly unknown[] ? Readonly<Call> : readonly unknown[];

/** For `task.signature()`: what it is called with, and how. Celery: `Task.signature`. */
export interface SignatureParts {
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
  options?: SignatureOptions;
  /** @default false */
  immutable?: boolean;
}

/** Any definition: what registries hold. */
export type AnyTask = TaskType<never, unknown>;
/** What a call of the definition `D` passes. */
export type CallOf<D> = D extends TaskType<infer Call, unknown> ? Call : never;
/** What the task of the definition `D` gives. */
export type ResultOf<D> = D extends TaskType<never, infer Result> ? Result : never;

/** The call's own part of `send`: nothing to pass when the task needs nothing. */
export type CallArguments<Call, Options = ApplyAsyncOptions> = Call extends readonly unknown[]
  ? Call extends readonly []
    ? [args?: Call, options?: Options]
    : [args: Call, options?: Options]
  : Record<never, never> extends Call
    ? [args?: Call | readonly unknown[], options?: Options]
    : [args: Call | readonly unknown[], options?: Options];

/** A handler with its types forgotten; the executor passes what `style` says. */
export type TaskHandler = (...args: never[]) => unknown;

type ReturnOf<S, R> = S extends AnySchema ? SchemaInput<S> | Promise<SchemaInput<S>> : R | Promise<R>;
type HandlerArguments<P, A extends unknown[]> = P extends ParamSchemas
  ? [params: HandlerParams<P>, context: TaskContext]
  : A;
type ResultFor<S, R> = S extends AnySchema ? SchemaOutput<S> : R;

/**
 * Defines a task. With `params` the handler receives one object of validated parameters and the context; without, it
 * receives the positional arguments as they came (the context is `currentTask()`). Without a handler it is a stub for a
 * task that lives elsewhere.
 */
export function task<A extends unknown[], R>(
  name: string,
  handler: (...args: A) => R | Promise<R>,
): TaskDefinition<A, R>;
export function task<
  const P extends ParamSchemas | undefined = undefined,
  S extends AnySchema | undefined = undefined,
  R = unknown,
  A extends unknown[] = unknown[],
>(
  name: string,
  options: TaskOptions<P, S>,
  handler?: (...args: HandlerArguments<P, A>) => ReturnOf<S, R>,
): TaskDefinition<P extends ParamSchemas ? CallParams<P> : A, ResultFor<S, R>>;
export function task(name: string): TaskDefinition<unknown[], unknown>;
export function task(
  name: string,
  optionsOrHandler: TaskOptions<ParamSchemas | undefined, AnySchema | undefined> | TaskHandler = {},
  maybeHandler?: TaskHandler,
): AnyTask {
  if (typeof name !== "string" || name === "") throw new ImproperlyConfigured("a task needs a name");
  const handler = typeof optionsOrHandler === "function" ? optionsOrHandler : (maybeHandler ?? null);
  const options = typeof optionsOrHandler === "function" ? {} : optionsOrHandler;
  checkShape(name, options, handler);
  const { params, returns, ...behaviour } = options;
  checkBehaviour(name, behaviour);
  return new DefinedTask({
    name,
    behaviour,
    parameters: params === undefined ? null : parametersOf(name, params),
    params: params ?? null,
    returns: returns ?? null,
    handler,
    style: params === undefined ? "positional" : "params",
  });
}

class DefinedTask implements TaskDefinition<unknown[], unknown> {
  readonly name: string;
  readonly behaviour: TaskBehaviour;
  readonly parameters: Parameters | null;
  readonly params: ParamSchemas | null;
  readonly returns: AnySchema | null;
  readonly handler: TaskHandler | null;
  readonly style: HandlerStyle;

  constructor(parts: AnyTask) {
    this.name = parts.name;
    this.behaviour = parts.behaviour;
    this.parameters = parts.parameters;
    this.params = parts.params;
    this.returns = parts.returns;
    this.handler = parts.handler;
    this.style = parts.style;
  }

  s(...args: readonly unknown[]): Signature<unknown[], unknown> {
    return this.#signature(args, false);
  }

  si(...args: readonly unknown[]): Signature<unknown[], unknown> {
    return this.#signature(args, true);
  }

  signature(parts: SignatureParts = {}): Signature<unknown[], unknown> {
    checkOptionObject(parts, SIGNATURE_PARTS, `${this.name}: signature()`);
    const { args, kwargs, options, immutable } = parts;
    const made = new Signature<unknown[]>(taskSignature(this.name, args, kwargs, immutable));
    return options === undefined ? made : made.set(options);
  }

  map(items: Iterable<unknown>): Signature<unknown[], unknown[]> {
    return new Signature(mapOf("celery.map", taskSignature(this.name), ownItems(items, `${this.name}: map()`)));
  }

  starmap(items: Iterable<readonly unknown[]>): Signature<unknown[], unknown[]> {
    return new Signature(mapOf("celery.starmap", taskSignature(this.name), ownItems(items, `${this.name}: starmap()`)));
  }

  chunks(items: Iterable<readonly unknown[]>, size: number): Signature<unknown[], unknown[][], "chunks"> {
    if (!Number.isInteger(size) || size < 1)
      throw mismatch(`${this.name}: size of chunks`, "a whole number of at least 1", size);
    return new Signature(chunksOf(taskSignature(this.name), ownItems(items, `${this.name}: chunks()`), size));
  }

  #signature(given: readonly unknown[], immutable: boolean): Signature<unknown[], unknown> {
    const byName = this.style === "params";
    if (byName && given.length > 1) {
      throw new TaskArgumentError(
        `${this.name}: pass one object of parameters; positional arguments go to signature()`,
      );
    }
    const { args, kwargs } = splitCall(this, byName ? given[0] : given);
    return new Signature(taskSignature(this.name, args, kwargs, immutable));
  }
}

/** What `task()` has made, here or by another copy of this package. */
export function isTaskDefinition(value: unknown): value is AnyTask {
  return isObject(value) && typeof value.name === "string" && isObject(value.behaviour) && "handler" in value;
}

function checkShape(name: string, options: unknown, handler: unknown): void {
  if (!isObject(options)) throw mismatch(`task ${name}: the second argument`, "options or a handler", options);
  if (handler !== null && typeof handler !== "function")
    throw mismatch(`task ${name}: the handler`, "a function", handler);
  const { params, returns } = options;
  if (params !== undefined && !isObject(params)) {
    throw mismatch(`task ${name}: params`, "an object of parameter name to schema", params);
  }
  if (isSchema(params)) {
    throw new ImproperlyConfigured(
      `params of task ${name}: pass the shape, { name: schema }, not a schema of an object`,
    );
  }
  if (returns !== undefined && !isSchema(returns)) {
    throw new ImproperlyConfigured(`returns of task ${name} is not a Standard Schema value`);
  }
}

/** The name that Python's error messages use: the last word of the task's name, as the function would be called. */
function functionName(taskName: string): string {
  return taskName.slice(taskName.lastIndexOf(".") + 1);
}

function parametersOf(name: string, params: ParamSchemas): Parameters {
  const specs: ParamSpec[] = [];
  let afterVarArgs = false;
  for (const [key, schema] of Object.entries(params)) {
    if (!isSchema(schema)) {
      throw new ImproperlyConfigured(`parameter ${key} of task ${name} is not a Standard Schema value`);
    }
    if (key.startsWith("**")) specs.push({ name: key.slice(2), kind: "varKeyword", hasDefault: false });
    else if (key.startsWith("*")) {
      afterVarArgs = true;
      specs.push({ name: key.slice(1), kind: "varPositional", hasDefault: false });
    } else {
      specs.push({
        name: key,
        kind: afterVarArgs ? "keywordOnly" : "positionalOrKeyword",
        hasDefault: acceptsAbsence(schema),
      });
    }
  }
  return { name: functionName(name), params: specs };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A schema may be a function, as ArkType's are. */
function isSchema(value: unknown): boolean {
  if (typeof value !== "function" && !isObject(value)) return false;
  const standard: unknown = Reflect.get(value, "~standard");
  return isObject(standard) && typeof standard.validate === "function";
}

/** A parameter whose schema accepts `undefined` has a default. An asynchronous schema cannot be asked; it is taken to have one. */
function acceptsAbsence(schema: AnySchema): boolean {
  try {
    const result = schema["~standard"].validate(undefined);
    return result instanceof Promise ? true : result.issues === undefined;
  } catch {
    return false;
  }
}
