/** Tasks side by side. wire: celery/canvas.py `group`. */
import { groupOf } from "../../protocol/celery/canvas/compose.ts";
import { canvasType, membersOf } from "../../protocol/celery/canvas/parts.ts";
import { flattened, Signature, wireOf } from "../tasks/signature.ts";
import type { AnySignature, PartResult, ShapeOf, SignatureResult, TakesOf } from "../tasks/signature-types.ts";

/** The results of members in their order; those of a group inside stand among them. */
export type Results<S> = S extends readonly []
  ? []
  : S extends readonly [infer Member, ...infer Rest]
    ? [...ResultsOf<Member>, ...Results<Rest>]
    : S extends readonly (infer Member)[]
      ? ResultsOf<Member>[number][]
      : never;
type ResultsOf<Member> =
  ShapeOf<Member> extends "group"
    ? SignatureResult<Member> extends infer Inner extends readonly unknown[]
      ? Inner
      : never
    : [PartResult<Member>];

/** What all members take. */
type TakenByAll<S> = S extends readonly []
  ? unknown[]
  : S extends readonly [infer Only]
    ? TakesOf<Only>
    : S extends readonly [infer Member, ...infer Rest]
      ? TakesOf<Member> & TakenByAll<Rest>
      : S extends readonly (infer Member)[]
        ? TakesOf<Member>
        : never;
export type AllTake<S> = TakenByAll<S> extends infer Taken extends readonly unknown[] ? Taken : never;

export type Grouped<S> = Signature<AllTake<S>, Results<S>, "group">;

/** A group of signatures, given one by one or as one array or other iterable. What comes before it is put in front of each member's arguments. */
export function group<const S extends readonly AnySignature[]>(...members: S): Grouped<S>;
export function group<const S extends readonly AnySignature[]>(members: S): Grouped<S>;
export function group<Member extends AnySignature>(members: Iterable<Member>): Grouped<Member[]>;
export function group(...members: readonly (AnySignature | Iterable<AnySignature>)[]): AnySignature {
  const wires = flattened(members).map((member) => wireOf(member, "group(): each member"));
  const [only] = wires;
  // A group of one group is that group's members (celery/canvas.py `group.__init__`).
  const isGroup =
    only !== undefined && members.length === 1 && members[0] instanceof Signature && canvasType(only) === "group";
  return new Signature(groupOf(isGroup ? membersOf(only) : wires));
}
