/** A group, and what runs with all of its results. wire: celery/canvas.py `chord`. */
import { chordOf } from "../../protocol/celery/canvas/compose.ts";
import { isIterable, Signature, wireOf } from "../tasks/signature.ts";
import type {
  AnySignature,
  EndShape,
  MustFollow,
  PartResult,
  ShapeOf,
  SignatureResult,
  TakesOf,
} from "../tasks/signature-types.ts";
import type { AllTake, Results } from "./group.ts";

/** The parts of a chord: signatures, or one signature (a group, a chain, …). */
export type Header = AnySignature | Iterable<AnySignature>;
type HeaderResults<H> = H extends AnySignature
  ? ShapeOf<H> extends "group"
    ? SignatureResult<H>
    : [PartResult<H>]
  : Results<Members<H>>;
type HeaderTakes<H> = H extends AnySignature ? TakesOf<H> : AllTake<Members<H>>;
/** Of an iterable that is no array, as of an array, the kind of member is all that is known. */
type Members<H> = H extends readonly AnySignature[] ? H : H extends Iterable<infer Member> ? Member[] : never;

export type Chorded<H, Body> = Signature<HeaderTakes<H>, PartResult<Body>, EndShape<Body>>;

/**
 * Sends `body` with the array of the header's results when all of the header has succeeded. The header is an array of signatures
 * or a group. Needs a result backend.
 */
export function chord<const H extends Header, Body extends AnySignature>(
  header: H,
  body: Body & MustFollow<HeaderResults<H>, Body>,
): Chorded<H, Body>;
export function chord(header: Header, body: AnySignature): AnySignature {
  const tasks =
    header instanceof Signature || !isIterable(header)
      ? wireOf(header, "chord(): the header")
      : Array.from(header, (member) => wireOf(member, "chord(): each member of the header"));
  return new Signature(chordOf(tasks, wireOf(body, "chord(): the body")));
}
