/**
 * What became of one workflow, in a form in which two runs can be compared: ids are replaced by the places of their tasks in the
 * shape, whatever order things came in is sorted, and what differs from run to run is left out.
 */
import { isRecord } from "../../protocol/records.ts";
import { parallelAround } from "./shape.ts";

/** What a task left behind, a line of `canvas:<run>`. */
export interface Note {
  readonly at: string;
  readonly task: string;
  readonly id?: string;
  readonly parent?: string | null;
  readonly root?: string | null;
  readonly group?: string | null;
  readonly [field: string]: unknown;
}

/** Everything seen of one workflow. */
export interface Seen {
  readonly unordered: boolean;
  readonly run: string;
  /** What the client got: a value, an exception, or nothing in time. */
  readonly outcome: unknown;
  /** `result.as_tuple()`. */
  readonly tuple: unknown;
  readonly notes: readonly Note[];
  /** Stored results by task id. */
  readonly stored: ReadonlyMap<string, Record<string, unknown>>;
  /** Other keys: what stands for each of them. */
  readonly keys: readonly { readonly id: string; readonly text: string }[];
}

export interface NormalForm {
  outcome: unknown;
  tuple: unknown;
  /** Each run of a task. */
  ran: string[];
  /** Each stored result. */
  stored: string[];
  keys: string[];
}

export function normalForm(seen: Seen): NormalForm {
  const names = new Names(seen);
  const inSomeOrder = <T extends object>(one: T): T =>
    seen.unordered && "args" in one ? { ...one, args: inOrder(one.args) } : one;
  return renumbered({
    outcome: names.within(seen.outcome),
    tuple: names.within(seen.tuple),
    ran: inPlaceOrder(seen.notes).map((note) => names.noteText(inSomeOrder(note))),
    stored: inNameOrder([...seen.stored], names).map(([id, meta]) => names.metaText(id, inSomeOrder(meta))),
    keys: seen.keys.map(({ id, text }) => `${names.of(id)} ${text}`),
  });
}

/**
 * Ids without a place got their numbers as chance had it: they are numbered again by the lines that each of them stands in, first
 * with the others unnamed there, then with what that has told of the others.
 */
function renumbered(form: NormalForm): NormalForm {
  const lines = [JSON.stringify([form.outcome, form.tuple]), ...form.ran, ...form.stored, ...form.keys];
  const numbers = new Set(lines.flatMap((line) => line.match(number) ?? []));
  let ranks = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    const rank = (id: string) => `?${ranks.get(id) ?? ""}`;
    const seenFrom = (one: string) => lines.map((line) => line.replace(number, (id) => (id === one ? "?!" : rank(id))));
    const keys = [...numbers].map((id) => ({
      id,
      key: seenFrom(id)
        .filter((line) => line.includes("?!"))
        .sort()
        .join("\n"),
    }));
    keys.sort((one, other) => (one.key < other.key ? -1 : one.key > other.key ? 1 : 0));
    const classes = [...new Set(keys.map(({ key }) => key))];
    ranks = new Map(keys.map(({ id, key }) => [id, classes.indexOf(key)]));
  }
  const order = [...numbers].sort((one, other) => (ranks.get(one) ?? 0) - (ranks.get(other) ?? 0));
  const again = new Map(order.map((id, at) => [id, `?${at + 1}`]));
  const { ran, stored, keys, ...rest }: NormalForm = JSON.parse(
    JSON.stringify(form).replace(number, (id) => again.get(id) ?? id),
  );
  return { ...rest, ran: ran.sort(), stored: stored.sort(), keys: keys.sort() };
}

const number = /\?\d+/g;

/** Names are given on the way, so the way has to be the same each time. */
function inPlaceOrder(notes: readonly Note[]): Note[] {
  return [...notes].sort((a, b) => (a.at < b.at ? -1 : 1));
}

function inNameOrder<T>(stored: [string, T][], names: Names): [string, T][] {
  const named = stored.map(([id, meta]) => [names.known(id), id, meta] as const);
  return named.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, id, meta]) => [id, meta]);
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

class Names {
  readonly #run: string;
  readonly #byId = new Map<string, string>();
  readonly #places = new Map<string, Set<string>>();
  /** Ids that nothing tells a place of are told apart by what is known of them. */
  #nameless = 0;

  constructor(seen: Seen) {
    this.#run = seen.run;
    const groups = new Map<string, Set<string>>();
    const put = (map: Map<string, Set<string>>, id: string, place: string) => {
      const known = map.get(id);
      if (known === undefined) map.set(id, new Set([place]));
      else known.add(place);
    };
    for (const note of seen.notes) {
      if (note.id !== undefined) put(this.#places, note.id, note.at);
      if (note.group) put(groups, note.group, note.at);
    }
    for (const [id, meta] of seen.stored) {
      const { kwargs } = meta;
      const at = isRecord(kwargs) && typeof kwargs.at === "string" ? kwargs.at : null;
      if (at !== null) put(this.#places, id, at.slice(at.indexOf("/") + 1));
      else if (!this.#places.has(id) && typeof meta.name === "string") put(this.#places, id, `(${meta.name})`);
    }
    this.#nameAll(this.#places, seen);
    for (const [id, places] of groups) this.#byId.set(id, `{${[...places].sort().join(" ")}}`);
    nameTuple(seen.tuple, "result", this.#byId);
  }

  /** The name if it has one. */
  known(id: string): string {
    return this.#byId.get(id) ?? "?";
  }

  of(id: unknown): string {
    if (typeof id !== "string") return String(id);
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const name = `?${++this.#nameless}`;
    this.#byId.set(id, name);
    return name;
  }

  /** Who sent it: any member of a group, where chance decides. */
  #sender(parent: unknown, child: string): string {
    const places = typeof parent === "string" ? this.#places.get(parent) : undefined;
    for (const place of places ?? []) {
      const around = parallelAround(place, child);
      if (around !== null) return around;
    }
    const name = this.of(parent);
    // Nothing but chance tells these apart.
    return name.startsWith("(") ? name.replace(/~\d+$/, "~*") : name;
  }

  noteText(note: Note): string {
    const { at, task, id, parent, root, group, lang: _lang, stamps, ...rest } = note;
    const ids =
      id === undefined
        ? {}
        : { id: this.of(id), parent: this.#sender(parent, at), root: this.#sender(root, at), group: this.of(group) };
    return `${at} ${task} ${JSON.stringify(sorted(this.within({ ...ids, ...rest, ...(stamps === undefined ? {} : { stamps: sorted(stamps) }) })))}`;
  }

  metaText(id: string, meta: Record<string, unknown>): string {
    const { task_id, date_done, worker, traceback, parent_id, group_id, args, kwargs, result, ...rest } = meta;
    const at = isRecord(kwargs) && typeof kwargs.at === "string" ? kwargs.at.slice(kwargs.at.indexOf("/") + 1) : "";
    const place = this.#places.get(id)?.values().next().value ?? at;
    const said = {
      ...rest,
      ...(Array.isArray(rest.stamped_headers) ? { stamped_headers: [...rest.stamped_headers].sort() } : {}),
      date: typeof date_done,
      trace: typeof traceback,
      ...(Object.hasOwn(meta, "parent_id") ? { parent: this.#sender(parent_id, place) } : {}),
      ...(Object.hasOwn(meta, "group_id") ? { group: this.of(group_id) } : {}),
      ...(Object.hasOwn(meta, "args") ? { args } : {}),
      ...(isRecord(kwargs) ? { kwargs: withoutShapes(kwargs) } : Object.hasOwn(meta, "kwargs") ? { kwargs } : {}),
      result,
      own: task_id === id,
      worker: typeof worker,
    };
    return `${this.of(id)} ${JSON.stringify(sorted(this.within(said)))}`;
  }

  /** The value with names for ids, also inside texts. */
  within(value: unknown): unknown {
    if (typeof value === "string") {
      return value.replaceAll(`${this.#run}/`, "").replaceAll(uuid, (id) => this.of(id));
    }
    if (Array.isArray(value)) return value.map((one) => this.within(one));
    if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.within(one)]));
    return value;
  }

  /** One place with several ids (an errback of a whole chain) makes them a numbered row, ordered by what was noted of them. */
  #nameAll(places: ReadonlyMap<string, ReadonlySet<string>>, seen: Seen): void {
    const byPlace = new Map<string, string[]>();
    for (const [id, all] of places) {
      const place = [...all].sort().join("=");
      byPlace.set(place, [...(byPlace.get(place) ?? []), id]);
    }
    const rows = [...byPlace];
    for (const [place, ids] of rows) if (ids.length === 1) this.#byId.set(ids[0] as string, place);
    const inTuple = new Map<string, string>();
    nameTuple(seen.tuple, "result", inTuple);
    const about = (id: string) => {
      const notes = seen.notes.filter((note) => note.id === id).map(({ lang: _lang, ...rest }) => sorted(rest));
      const { args, result, group_id } = seen.stored.get(id) ?? {};
      const text = JSON.stringify([notes, [args, result, group_id].map((value) => value ?? null)]);
      const named = (id: string) => this.#byId.get(id) ?? "?";
      // What is known by its place in the result tells apart what is equal otherwise.
      return `${text.replaceAll(uuid, named)} ${text.replaceAll(uuid, (id) => inTuple.get(id) ?? "?")}`;
    };
    for (const [place, ids] of rows) {
      if (ids.length === 1) continue;
      const ordered = ids.map((id) => [about(id), id] as const).sort(([a], [b]) => (a < b ? -1 : 1));
      for (const [index, [, id]] of ordered.entries()) this.#byId.set(id, `${place}~${index + 1}`);
    }
  }
}

/** Names ids by their places in the tuple of a result; those that have a name keep it. */
function nameTuple(tuple: unknown, place: string, names: Map<string, string>): void {
  if (typeof tuple === "string") {
    if (!names.has(tuple)) names.set(tuple, place);
    return;
  }
  if (!Array.isArray(tuple)) return;
  const [head, children] = tuple;
  if (Array.isArray(head)) {
    nameTuple(head[0], place, names);
    nameTuple(head[1], `${place}.parent`, names);
  }
  if (Array.isArray(children)) {
    for (const [index, child] of children.entries()) nameTuple(child, `${place}.${index}`, names);
  }
}

function withoutShapes(kwargs: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(kwargs).filter(([, value]) => !(isRecord(value) && "subtask_type" in value)),
  );
}

function sorted(value: unknown): unknown {
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The same lists, each in the order of its members' texts. */
function inOrder(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  const texts = value.map((one) => JSON.stringify(inOrder(one))).sort();
  return texts.map((text) => JSON.parse(text) as unknown);
}
