/** Steps one after the other, each with the result of the one before it. wire: celery/canvas.py `chain`, `_fold_chain`. */
import { chainOf, foldedChain } from "../../protocol/celery/canvas/compose.ts";
import { flattened, Signature, wireOf } from "../tasks/signature.ts";
import type { AnySignature, EndShape, MustFollow, PartResult, TakesOf, Unrolled } from "../tasks/signature-types.ts";

/** Each step after the first with what it must satisfy. */
type Checks<S, Before = "nothing"> = S extends readonly [infer Step, ...infer Rest]
  ? [Before extends "nothing" ? unknown : MustFollow<ResultBefore<Before>, Step>, ...Checks<Rest, Step>]
  : unknown[];
type ResultBefore<S> = PartResult<Unrolled<S>>;

type Checked<S extends readonly AnySignature[], C = Checks<S>> = {
  [I in keyof S]: S[I] & (I extends keyof C ? C[I] : unknown);
};

type First<S> = S extends readonly [infer Step, ...unknown[]] ? Step : S extends readonly (infer Step)[] ? Step : never;
type Last<S> = S extends readonly [...unknown[], infer Step] ? Step : S extends readonly (infer Step)[] ? Step : never;

/** A chain of nothing can be made, not sent. */
export type Chained<S> = S extends readonly []
  ? Signature<[], null>
  : Signature<TakesOf<First<S>>, PartResult<Unrolled<Last<S>>>, EndShape<Unrolled<Last<S>>>>;

/**
 * A chain of signatures. Each gets the result of the one before it in front of its own arguments; a group that something follows
 * becomes a chord; chains inside become part of this one. One array of signatures is the same as the signatures.
 */
export function chain<const S extends readonly AnySignature[]>(...steps: Checked<S>): Chained<S>;
export function chain<const S extends readonly AnySignature[]>(steps: Checked<S>): Chained<S>;
export function chain<Step extends AnySignature>(steps: Iterable<Step> & { readonly length?: never }): Chained<Step[]>;
export function chain(...steps: readonly (AnySignature | Iterable<AnySignature>)[]): AnySignature {
  const [first] = steps;
  if (steps.length === 1 && first instanceof Signature) return new Signature(chainOf([wireOf(first, "chain()")]));
  return new Signature(foldedChain(flattened(steps).map((step) => wireOf(step, "chain(): each step"))));
}
