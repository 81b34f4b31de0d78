/**
 * A workflow as data, which the Python client and ours both build with their own canvas (`fixtures/canvas_client.py`, `build.ts`).
 *
 * Every task of a shape gets the argument `at`, `<run>/<place>`; a place is the way to it from the outside: `c1` second of a chain,
 * `g0` first of a group, `h0` first of a chord's header, `b` its body, `l0` a link, `e0` an errback, `into` a shape in an argument.
 */
export type Shape = (
  | {
      /** Without the `canvas.` in front. */
      readonly task: string;
      readonly args?: readonly unknown[];
      readonly kwargs?: Readonly<Record<string, unknown>>;
      /** Arguments that are signatures. */
      readonly shapes?: Readonly<Record<string, Shape>>;
      readonly immutable?: boolean;
    }
  | { readonly chain: readonly Shape[] }
  /** Joined one by one with `|`. */
  | { readonly pipe: readonly Shape[] }
  | { readonly group: readonly Shape[] }
  | { readonly chord: readonly Shape[]; readonly body: Shape }
  | { readonly map: string; readonly it: readonly unknown[] }
  | { readonly starmap: string; readonly it: readonly unknown[] }
  /** `asGroup`: the group of its parts instead of the task that sends them. */
  | { readonly chunks: string; readonly it: readonly unknown[]; readonly n: number; readonly asGroup?: boolean }
) & {
  readonly link?: readonly Shape[];
  readonly linkError?: readonly Shape[];
  /** `set(…)`, with Celery's names. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** `stamp(…)`: headers and their values. */
  readonly stamp?: Readonly<Record<string, unknown>>;
};

/** What one client sends. */
export interface Workflow {
  /** `group/what it is`. */
  readonly name: string;
  readonly shape: Shape;
  /** What `apply_async` is given. */
  readonly apply?: {
    readonly args?: readonly unknown[];
    readonly kwargs?: Readonly<Record<string, unknown>>;
    readonly options?: Readonly<Record<string, unknown>>;
  };
  /** Nothing comes of it, ever, as Celery has it: not waited for. By default Lovage ends it with an error of this type. */
  readonly ends?: string;
  /** Chance decides the order of values in lists. */
  readonly unordered?: true;
  /** A message that expires: RabbitMQ drops it by itself, so that no worker can say so. */
  readonly expires?: true;
  /** Needs a backend that counts the parts of chords. */
  readonly counting?: true;
}

/** One workflow from one client. */
export interface Sending {
  readonly run: string;
  readonly shape: Shape;
  readonly apply: NonNullable<Workflow["apply"]>;
  readonly endless: boolean;
}

/** Chords are unlocked by polling there: what needs a counter stays away, and of the rest every kind of chord is enough. */
export function runsOn(workflow: Workflow, stores: string): boolean {
  if (workflow.expires === true && stores.startsWith("amqp")) return false;
  if (stores !== "filesystem+file") return true;
  return (
    workflow.counting !== true &&
    /^(chord|dropped|chain\/.*(group|chord)|replace\/.*(group|chord)|map)/.test(workflow.name)
  );
}

/** The shape with the names of the tasks in full and with `at` in every one of them. */
export function placed(shape: Shape, run: string, place = ""): Shape {
  const at = (step: string) => (place === "" ? step : `${place}.${step}`);
  const inner = (shapes: readonly Shape[] | undefined, step: string) =>
    shapes === undefined ? undefined : shapes.map((one, index) => placed(one, run, at(`${step}${index}`)));
  const around = definedOnly({ link: inner(shape.link, "l"), linkError: inner(shape.linkError, "e") });
  if ("chain" in shape) return { ...shape, ...around, chain: inner(shape.chain, "c") ?? [] };
  if ("pipe" in shape) return { ...shape, ...around, pipe: inner(shape.pipe, "c") ?? [] };
  if ("group" in shape) return { ...shape, ...around, group: inner(shape.group, "g") ?? [] };
  if ("chord" in shape) {
    return { ...shape, ...around, chord: inner(shape.chord, "h") ?? [], body: placed(shape.body, run, at("b")) };
  }
  if ("map" in shape) return { ...shape, ...around, map: `canvas.${shape.map}` };
  if ("starmap" in shape) return { ...shape, ...around, starmap: `canvas.${shape.starmap}` };
  if ("chunks" in shape) return { ...shape, ...around, chunks: `canvas.${shape.chunks}` };
  const shapes = Object.entries(shape.shapes ?? {}).map(([name, one]) => [name, placed(one, run, at(name))]);
  return {
    ...shape,
    ...around,
    task: shape.task.includes(".") ? shape.task : `canvas.${shape.task}`,
    kwargs: { ...shape.kwargs, at: `${run}/${place === "" ? "task" : place}` },
    shapes: Object.fromEntries(shapes) as Record<string, Shape>,
  };
}

function definedOnly(from: { link: Shape[] | undefined; linkError: Shape[] | undefined }): Partial<Shape> {
  return {
    ...(from.link === undefined ? {} : { link: from.link }),
    ...(from.linkError === undefined ? {} : { linkError: from.linkError }),
  };
}

/**
 * Whether the task at `parent` is a member of a group or a header in which the task at `child` is not: then any of the members may
 * have sent the child, whichever ended last, and the answer is the place of all of them.
 */
export function parallelAround(parent: string, child: string): string | null {
  const from = parent.split(".");
  const to = child.split(".");
  const differs = from.findIndex((step, index) => step !== to[index]);
  if (differs < 0) return null;
  const member = from.findIndex((step, index) => index >= differs && /^[gh]\d+$/.test(step));
  return member < 0 ? null : [...from.slice(0, member), "*"].join(".");
}
