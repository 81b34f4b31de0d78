/** What the grid asks of a client, whichever language it is written in. */
import type { RequestShape } from "./case.ts";

/** How a request ended, as the client told. */
export type Outcome =
  | { readonly state: string; readonly value: unknown }
  | { readonly state: string; readonly raised: { readonly type: string; readonly message: string } }
  /** The wait ended first. */
  | { readonly nothing: true };

/** What a client reads of a result, by Mognet's names. */
export interface Read {
  readonly name: string | null;
  readonly state: string;
  readonly number_of_starts: number;
  readonly number_of_stops: number;
  readonly parent_id: string | null;
  readonly node_id: string | null;
  readonly request_kwargs_repr: string | null;
  readonly done: boolean;
  readonly unexpected_retry_count: number;
  readonly children: number;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Names and states, nested. */
  readonly tree: unknown;
}

export interface GridClient extends AsyncDisposable {
  /** Resolves with the id. `run` goes where texts say `$RUN`. */
  submit(request: RequestShape, run: string): Promise<string>;
  /** Waits for the end. */
  get(id: string, timeoutMs: number): Promise<Outcome>;
  /** Null: there is no such result. */
  read(id: string): Promise<Read | null>;
  revoke(id: string, force: boolean): Promise<void>;
  setMetadata(id: string, values: Readonly<Record<string, unknown>>): Promise<void>;
  /** Node ids of the first `nodes` replies, or of all that came in time, with how many requests each runs; sorted. */
  status(nodes: number): Promise<readonly (readonly [string, number])[]>;
  queue(name: string): Promise<{ readonly messages: number; readonly consumers: number }>;
  purge(): Promise<Readonly<Record<string, number>>>;
}

/** With `$RUN` replaced in every text; other values as they are. */
export function placed(value: unknown, run: string): unknown {
  if (typeof value === "string") return value.replaceAll("$RUN", run);
  if (Array.isArray(value)) return value.map((one) => placed(one, run));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, placed(one, run)]));
}

/** Names and states of a tree, children in the order of their text. */
export function treeText(name: string | null, state: string, children: readonly unknown[]): unknown {
  const below = children.map((child) => JSON.stringify(child)).sort();
  return { name, state, children: below.map((child): unknown => JSON.parse(child)) };
}
