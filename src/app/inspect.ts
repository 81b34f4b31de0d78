/** `app.control.inspect()`: what workers answer, by node name. wire: celery/app/control.py `Inspect`; behaviour 3.2 to 3.6. */
import type { Reply } from "../control/mailbox.ts";
import type { Log } from "../runtime/log.ts";
import type { Control } from "./control.ts";
import {
  type ControlOptions,
  checkArgument,
  commandArguments,
  flag,
  nodeNames,
  someText,
  taskIds,
  wholeNumber,
} from "./control-options.ts";

/** A task as workers describe it. */
export interface TaskDescription {
  id: string;
  name: string;
  /** Its arguments, or with `safe` their text. */
  args: unknown;
  kwargs: unknown;
  type: string;
  hostname: string;
  /** Unix seconds; null before it started. */
  time_start: number | null;
  acknowledged: boolean;
  delivery_info: { exchange: string; routing_key: string; priority: number | null; redelivered: boolean | null };
  worker_pid: number | null;
  [more: string]: unknown;
}

/** Answers by node name; null: nobody answered. A refusal is `{ error: text }`, whatever the type says. */
export type Answers<T> = Readonly<Record<string, T>> | null;

/** Asks workers of either language, and answers by node name. Got from `app.control.inspect()`; Celery: `control.inspect`. */
export class Inspect {
  readonly #control: Control;
  readonly #options: Omit<ControlOptions, "reply">;
  readonly #log: Log;

  constructor(control: Control, options: Omit<ControlOptions, "reply">, log: Log) {
    this.#control = control;
    this.#options = options;
    this.#log = log;
  }

  /** Tasks that run. `safe`: arguments as texts. */
  async active(safe?: boolean): Promise<Answers<TaskDescription[]>> {
    if (safe !== undefined) checkArgument(safe, flag, "inspect.active(): safe");
    return this.request("active", { safe: safe ?? null });
  }

  /** Tasks that wait for a slot. */
  reserved(): Promise<Answers<TaskDescription[]>> {
    return this.request("reserved");
  }

  /** Tasks that wait for their time. */
  scheduled(): Promise<Answers<{ eta: string | null; priority: number; request: TaskDescription }[]>> {
    return this.request("scheduled");
  }

  /** Ids that were revoked. */
  revoked(): Promise<Answers<string[]>> {
    return this.request("revoked");
  }

  /** Names of the tasks that run there, with these attributes. */
  async registered(...attributes: readonly string[]): Promise<Answers<string[]>> {
    for (const one of attributes) checkArgument(one, someText, "inspect.registered(): an attribute");
    return this.request("registered", { taskinfoitems: attributes });
  }

  async ping(destination?: readonly string[]): Promise<Answers<{ ok: string }>> {
    if (destination !== undefined) checkArgument(destination, nodeNames, "inspect.ping(): the destination");
    return destination === undefined
      ? this.request("ping")
      : new Inspect(this.#control, { ...this.#options, destination }, this.#log).request("ping");
  }

  stats(): Promise<Answers<Record<string, unknown>>> {
    return this.request("stats");
  }

  activeQueues(): Promise<Answers<Record<string, unknown>[]>> {
    return this.request("active_queues");
  }

  /** State and description of these tasks where they are known. */
  async queryTask(...ids: readonly string[]): Promise<Answers<Record<string, [state: string, task: TaskDescription]>>> {
    for (const id of ids) checkArgument(id, taskIds, "inspect.queryTask(): an id");
    return this.request("query_task", { ids });
  }

  async conf(withDefaults = false): Promise<Answers<Record<string, unknown>>> {
    checkArgument(withDefaults, flag, "inspect.conf(): withDefaults");
    return this.request("conf", { with_defaults: withDefaults });
  }

  clock(): Promise<Answers<{ clock: number }>> {
    return this.request("clock");
  }

  report(): Promise<Answers<{ ok: string }>> {
    return this.request("report");
  }

  memsample(): Promise<Answers<string | null>> {
    return this.request("memsample");
  }

  async memdump(samples = 10): Promise<Answers<string>> {
    checkArgument(samples, wholeNumber, "inspect.memdump(): samples");
    return this.request("memdump", { samples });
  }

  /** A picture of Python objects; only Python workers that have objgraph make one. */
  async objgraph(type = "Request", n = 200, maxDepth = 10): Promise<Answers<{ filename: string }>> {
    checkArgument(type, someText, "inspect.objgraph(): the type");
    checkArgument(n, wholeNumber, "inspect.objgraph(): n");
    checkArgument(maxDepth, wholeNumber, "inspect.objgraph(): maxDepth");
    return this.request("objgraph", { num: n, max_depth: maxDepth, type });
  }

  async hello(
    fromNode: string,
    revoked: readonly string[] = [],
  ): Promise<Answers<{ revoked: string[]; clock: number } | null>> {
    checkArgument(fromNode, someText, "inspect.hello(): the node");
    checkArgument(revoked, taskIds, "inspect.hello(): the revoked ids");
    return this.request("hello", { from_node: fromNode, revoked });
  }

  /** Any other command, such as one of your own. */
  async request<T>(command: string, given: Readonly<Record<string, unknown>> = {}): Promise<Answers<T>> {
    checkArgument(given, commandArguments, "inspect.request(): the arguments");
    const replies = await this.#control.broadcast(command, { ...this.#options, arguments: given, reply: true });
    return flatReplies<T>(replies ?? [], this.#log);
  }
}

/** One map of all; a node that answered twice is two nodes of one name. */
export function flatReplies<T>(replies: readonly Reply[], log: Log): Answers<T> {
  if (replies.length === 0) return null;
  const nodes = new Map<string, unknown>();
  const twice = new Set<string>();
  for (const reply of replies) {
    for (const [node, answer] of Object.entries(reply)) {
      if (nodes.has(node)) twice.add(node);
      nodes.set(node, answer);
    }
  }
  if (twice.size > 0) {
    log.warn(
      { nodes: [...twice].sort() },
      "several workers have one node name: give each a name of its own (name, or -n)",
    );
  }
  return Object.fromEntries(nodes) as Record<string, T>;
}
