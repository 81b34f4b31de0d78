/**
 * Python's calling rules: which parameter gets which argument, and the `TypeError` when that fails. The order of the checks
 * and every word are CPython 3.11's (Python/ceval.c `initialize_locals`, `too_many_positional`, `missing_arguments`,
 * `positional_only_passed_as_keyword`), because Python callers match on them.
 */

export type ParamKind = "positional" | "positionalOrKeyword" | "keywordOnly" | "varPositional" | "varKeyword";

/** A parameter, as `inspect.Parameter` in Python. */
export interface ParamSpec {
  name: string;
  /** `positional` is Python's positional-only, the ones before `/`. */
  kind: ParamKind;
  /** Ignored for `*args` and `**kwargs`. */
  hasDefault: boolean;
}

/** The parameters of a function, as `inspect.signature` in Python. */
export interface Signature {
  /** The function's name as messages show it. @default "function" */
  name?: string;
  /** In order: positional(-only), then `*args`, then keyword-only, then `**kwargs`. Treated as immutable. */
  params: readonly ParamSpec[];
}

/** Each parameter has what it gets. */
export interface BoundArguments {
  ok: true;
  /** Own members only for what was given; parameters left to their defaults are absent. */
  values: Record<string, unknown>;
  /** Present when the signature has `*args`. */
  varArgs?: unknown[];
  /** Present when the signature has `**kwargs`; own members only. */
  varKwargs?: Record<string, unknown>;
}

/** The arguments do not fit, in Python's words. */
export interface BindingFailure {
  ok: false;
  /** The text of Python's `TypeError`. */
  message: string;
}

/** Binds arguments as Python's call would. Neither input is changed. */
export function bindArguments(
  signature: Signature,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): BoundArguments | BindingFailure {
  const plan = planOf(signature);
  const values: Record<string, unknown> = {};
  const bound: BoundArguments = { ok: true, values };
  const filled = Math.min(args.length, plan.positional.length);
  for (let at = 0; at < filled; at++) put(values, plan.positional[at]!.name, args[at]);
  if (plan.hasVarArgs) bound.varArgs = args.slice(filled);
  if (plan.hasVarKwargs) bound.varKwargs = {};
  for (const name of Object.keys(kwargs)) {
    if (plan.byKeyword.has(name)) {
      if (Object.hasOwn(values, name)) return fail(`${plan.name}() got multiple values for argument '${name}'`);
      put(values, name, kwargs[name]);
    } else if (bound.varKwargs !== undefined) {
      put(bound.varKwargs, name, kwargs[name]);
    } else {
      return fail(unexpected(plan, name, kwargs));
    }
  }
  if (args.length > filled && !plan.hasVarArgs) return fail(tooMany(plan, args.length, values));
  if (filled < plan.positional.length) {
    const missing = missingOf(plan.positional, filled, values);
    if (missing.length > 0) return fail(missingText(plan, missing, "positional"));
  }
  if (plan.keywordOnly.length > 0) {
    const missing = missingOf(plan.keywordOnly, 0, values);
    if (missing.length > 0) return fail(missingText(plan, missing, "keyword-only"));
  }
  return bound;
}

interface Plan {
  name: string;
  /** Positional-only ones first. */
  positional: ParamSpec[];
  positionalOnly: string[];
  keywordOnly: ParamSpec[];
  byKeyword: ReadonlySet<string>;
  hasVarArgs: boolean;
  hasVarKwargs: boolean;
}

const plans = new WeakMap<Signature, Plan>();

function planOf(signature: Signature): Plan {
  const known = plans.get(signature);
  if (known !== undefined) return known;
  const { params } = signature;
  const ofKind = (...kinds: ParamKind[]) => params.filter((param) => kinds.includes(param.kind));
  const plan: Plan = {
    name: signature.name ?? "function",
    positional: ofKind("positional", "positionalOrKeyword"),
    positionalOnly: ofKind("positional").map((param) => param.name),
    keywordOnly: ofKind("keywordOnly"),
    byKeyword: new Set(ofKind("positionalOrKeyword", "keywordOnly").map((param) => param.name)),
    hasVarArgs: ofKind("varPositional").length > 0,
    hasVarKwargs: ofKind("varKeyword").length > 0,
  };
  plans.set(signature, plan);
  return plan;
}

/** An own member, whatever its name. */
function put(values: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== "__proto__") values[name] = value;
  else Object.defineProperty(values, name, { value, writable: true, enumerable: true, configurable: true });
}

function missingOf(params: readonly ParamSpec[], from: number, values: Record<string, unknown>): string[] {
  const missing: string[] = [];
  for (let at = from; at < params.length; at++) {
    const { name, hasDefault } = params[at]!;
    if (!hasDefault && !Object.hasOwn(values, name)) missing.push(name);
  }
  return missing;
}

function fail(message: string): BindingFailure {
  return { ok: false, message };
}

function unexpected(plan: Plan, name: string, kwargs: Readonly<Record<string, unknown>>): string {
  const misplaced = plan.positionalOnly.filter((only) => Object.hasOwn(kwargs, only));
  if (misplaced.length === 0) return `${plan.name}() got an unexpected keyword argument '${name}'`;
  const names = misplaced.join(", ");
  return `${plan.name}() got some positional-only arguments passed as keyword arguments: '${names}'`;
}

function tooMany(plan: Plan, given: number, values: Record<string, unknown>): string {
  const most = plan.positional.length;
  const least = plan.positional.filter((param) => !param.hasDefault).length;
  const takes =
    least < most ? `from ${least} to ${most} positional arguments` : `${most} positional argument${s(most)}`;
  const keywordOnly = plan.keywordOnly.filter((param) => Object.hasOwn(values, param.name)).length;
  const extra =
    keywordOnly === 0
      ? ""
      : ` positional argument${s(given)} (and ${keywordOnly} keyword-only argument${s(keywordOnly)})`;
  const verb = given === 1 && keywordOnly === 0 ? "was" : "were";
  return `${plan.name}() takes ${takes} but ${given}${extra} ${verb} given`;
}

function missingText(plan: Plan, missing: readonly string[], kind: "positional" | "keyword-only"): string {
  const names = missing.map((name) => `'${name}'`);
  const last = names.pop()!;
  const list = names.length === 0 ? last : `${names.join(", ")}${names.length > 1 ? "," : ""} and ${last}`;
  return `${plan.name}() missing ${missing.length} required ${kind} argument${s(missing.length)}: ${list}`;
}

function s(count: number): string {
  return count === 1 ? "" : "s";
}
