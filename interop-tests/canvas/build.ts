/** Builds a shape with our own canvas, as `fixtures/canvas_client.py` does with Celery's. */
import {
  type AnySignature,
  chain,
  chord,
  group,
  type LooseSignature,
  signature,
  signatureFrom,
  task,
} from "../../src/index.ts";
import { callOptionsOf } from "../../src/tasks/signature-options.ts";
import type { Shape } from "./shape.ts";

export function build(shape: Shape): LooseSignature {
  let made = body(shape);
  if (shape.options !== undefined) made = made.set(callOptionsOf(shape.options));
  for (const callback of shape.link ?? []) made = made.link(build(callback));
  for (const errback of shape.linkError ?? []) made = made.linkError(build(errback));
  if (shape.stamp !== undefined) made = made.stamp(shape.stamp);
  return made;
}

const parts = (shapes: readonly Shape[]) => shapes.map(build);
/** Of a shape nothing is known to the compiler. */
const loose = (made: AnySignature): LooseSignature => signatureFrom(made.toJSON());

const lists = (items: readonly unknown[]) => items as readonly (readonly unknown[])[];

function body(shape: Shape): LooseSignature {
  if ("chain" in shape) return loose(chain(...parts(shape.chain)));
  if ("pipe" in shape) return parts(shape.pipe).reduce((made, next) => loose(made.pipe(next)));
  if ("group" in shape) return loose(group(parts(shape.group)));
  if ("chord" in shape) return loose(chord(parts(shape.chord), build(shape.body)));
  if ("map" in shape) return loose(task(shape.map).map(shape.it));
  if ("starmap" in shape) return loose(task(shape.starmap).starmap(lists(shape.it)));
  if ("chunks" in shape) {
    const { chunks: name, it, n } = shape;
    if (!shape.asGroup) return loose(task(name).chunks(lists(it), n));
    const starts = it.flatMap((_one, index) => (index % n === 0 ? [index] : []));
    return loose(group(starts.map((start) => task(name).starmap(lists(it.slice(start, start + n))))));
  }
  const { task: of, args = [], kwargs = {}, shapes = {}, immutable = false } = shape;
  const inner = Object.entries(shapes).map(([key, one]) => [key, build(one)] as const);
  return loose(signature(of, { args, kwargs: { ...kwargs, ...Object.fromEntries(inner) }, immutable }));
}
