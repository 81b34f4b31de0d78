/**
 * One case of the grid as data: a request, what is done to it while it is under way, and what cannot be compared. It is run by the
 * client of each language in fleets of Python, of TypeScript and of both, and every run must leave what Python leaves of Python's.
 */

/** A request, by Mognet's names. */
export interface RequestShape {
  /** Without the `fixture.` in front. */
  readonly task: string;
  /** `$RUN` in texts stands for a text of this run alone. */
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Python's arguments, where JSON cannot write them: the text of a list. */
  readonly python?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Seconds, or ISO 8601. */
  readonly deadline?: string | number;
  readonly queue?: "tasks" | "left" | "right" | "idle";
  readonly kwargsRepr?: string;
  readonly priority?: number;
}

/** What stands in Redis and on the queue without any client: for what no client sends. */
export interface RawShape {
  /** Fields of the stored result besides the usual ones of a new request; null: none is stored. `$ID` stands for the id. */
  readonly hash?: Readonly<Record<string, unknown>> | null;
  /** Only these fields and no usual ones. */
  readonly onlyHash?: Readonly<Record<string, unknown>>;
  /** Results of other ids that have to be there, by the name they have in texts: `$PARENT`. */
  readonly others?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Over the usual payload; `undefined` takes a key away. */
  readonly payload?: Readonly<Record<string, unknown>>;
  /** Over the usual envelope. */
  readonly envelope?: Readonly<Record<string, unknown>>;
  /** Instead of all that. */
  readonly body?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
  /** Goes to the control exchange, not to the queue of tasks. */
  readonly control?: true;
}

export type Step =
  /** Until so many events of that name were noted in all the tree. */
  | { readonly until: string; readonly times?: number }
  /** Until the stored state is this one. */
  | { readonly state: string }
  | { readonly revoke: "self" | "other"; readonly force?: boolean }
  | { readonly metadata: Readonly<Record<string, unknown>>; readonly by: "self" | "other" }
  /** Opens the gate `$RUN`. */
  | { readonly open: true }
  /** The value is awaited. */
  | { readonly ended: true }
  /** A message without any client. */
  | { readonly publish: RawShape };

export interface Case {
  /** `group/what it is`. */
  readonly name: string;
  readonly request?: RequestShape;
  readonly raw?: RawShape;
  readonly steps?: readonly Step[];
  /** Nothing comes of it: not awaited. */
  readonly endless?: true;
  /** Chance decides how often runs begin and end: only whether both numbers are the same is compared. */
  readonly uncounted?: true;
  /** Needs Python on the worker's side. */
  readonly workers?: "python";
  /** Python leaves it to chance, or open for ever: not compared; a fleet of TypeScript has to leave this state in all of the tree. */
  readonly chance?: "REVOKED";
}

/** What happened to one case, comparable with another run of it. */
export type Form = Readonly<Record<string, unknown>>;

export const groupOf = (name: string): string => name.slice(0, name.indexOf("/"));
