/**
 * The types of signatures: what may still be put in front of one, what it gives, and whether its result is one value or those of
 * a group. They exist for the compiler alone.
 */
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import type { Signature } from "./signature.ts";

/**
 * `group`: a group itself; `grouped`: it ends in one, as a chain or a chord may; `chunks`: a group when it is sent alone, one task
 * everywhere else; `task`: everything else.
 */
export type Shape = "task" | "group" | "grouped" | "chunks";

/** A signature of whatever takes and gives what. */
export type AnySignature = Signature<never, unknown, Shape>;

/** The tuples of arguments that may be put in front of it, as a union. */
export type TakesOf<S> = S extends Signature<infer Takes, unknown, Shape> ? Takes : never;
export type SignatureResult<S> = S extends Signature<never, infer Result, Shape> ? Result : never;
/** What it gives to what it is a part of, or what follows: the task that chunks are there gives the ids of their results. */
export type PartResult<S> = PassedOn<SignatureResult<S>, ShapeOf<S>>;
export type PassedOn<Result, Of> = Of extends "chunks" ? ResultTuple : Result;
export type ShapeOf<S> = S extends Signature<never, unknown, infer Of> ? Of : never;

/** The argument lists that end a call of `A`: what `s()` takes when a result may still come in front. */
export type Endings<A extends readonly unknown[]> = A extends readonly []
  ? []
  : A extends readonly (infer E)[]
    ? E[] extends A
      ? A
      : A | (A extends readonly [unknown?, ...infer Rest] ? Endings<Rest> : never)
    : never;

/** What may be put in front of a signature that takes `A`: of one that says nothing, anything. */
export type Ending<A extends readonly unknown[]> = [A] extends [never] ? readonly unknown[] : Readonly<Endings<A>>;

/** What completes a call of `A` from the front when it ends in `Given`. */
export type Beginnings<A extends readonly unknown[], Given extends readonly unknown[]> = A extends readonly []
  ? Given extends readonly []
    ? []
    : never
  : A extends readonly (infer E)[]
    ? E[] extends A
      ? Given extends Readonly<A>
        ? A
        : never
      : (Given extends Readonly<A> ? [] : never) | Longer<A, Given>
    : never;

type Longer<A extends readonly unknown[], Given extends readonly unknown[]> = A extends readonly [
  (infer First)?,
  ...infer Rest,
]
  ? Beginnings<Rest, Given> extends infer More
    ? More extends readonly unknown[]
      ? [First, ...More]
      : never
    : never
  : never;

type Required<Call, K extends keyof Call> = K extends keyof Call
  ? undefined extends Call[K]
    ? never
    : Record<never, never> extends Pick<Call, K>
      ? never
      : K
  : never;

type OneOf<K, All = K> = [K] extends [never] ? never : K extends K ? ([All] extends [K] ? K : never) : never;

/**
 * What completes a call by name: nothing, when all that is needed is given; one value for the first parameter, when it is one
 * that is not given.
 */
export type Missing<Call, Given extends keyof Call> = MissingOf<Call, Exclude<keyof Call, Given>>;

type MissingOf<Call, Left extends keyof Call> = [Required<Call, Left>] extends [never]
  ? [] | ([Left] extends [never] ? never : [Exclude<Call[Left], undefined>])
  : [OneOf<Required<Call, Left>>] extends [never]
    ? never
    : [Call[OneOf<Required<Call, Left>>]];

/** Whether a signature can be started, or can follow another, with these arguments in front. */
export type Takes<S, Front extends readonly unknown[]> = [Front] extends [TakesOf<S>] ? true : false;

/** The result that comes in front of what follows. Of a result that nobody has declared nothing is demanded. */
export type Follows<Result, S> = unknown extends Result ? true : Takes<S, [Result]>;

/** What the compiler says of a step that cannot follow. */
export interface DoesNotFollow<Result, S> {
  readonly "this signature does not take the result of what comes before it": {
    readonly result: Result;
    readonly takes: TakesOf<S>;
  };
}

export interface IsNotComplete<S> {
  readonly "this signature needs arguments in front": TakesOf<S>;
}

/** A type that nothing but a fitting `S` satisfies. */
export type MustFollow<Result, S> = Follows<Result, S> extends true ? unknown : DoesNotFollow<Result, S>;
export type MustBeComplete<S> = Takes<S, []> extends true ? unknown : IsNotComplete<S>;

/** What ends with it, ends as one task or as a group. */
export type EndShape<S> = ShapeOf<S> extends "task" | "chunks" ? "task" : "grouped";

/** A group of one is its member where it follows something. */
export type Unrolled<S> =
  S extends Signature<infer T, infer Result, "group">
    ? Result extends readonly [infer One]
      ? Signature<T, One, "task">
      : S
    : S;

/** `a.pipe(b)`: the group before, if it is one, becomes a chord's header. */
export type Piped<First, Next> = Signature<TakesOf<First>, PartResult<Unrolled<Next>>, EndShape<Unrolled<Next>>>;
