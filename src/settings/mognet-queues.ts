/** A Mognet app's exchanges and queues, and which of them a task goes to. wire: protocol mognet 1.5, 1.6; mognet/app/app.py `_get_task_route`. */
import {
  MOGNET_NODE_QUEUE_ARGUMENTS,
  MOGNET_TASK_QUEUE_ARGUMENTS,
  type MognetNames,
} from "../../protocol/mognet/names.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import type { MognetConfig } from "./mognet-config.ts";

export interface Routed {
  readonly name: string;
  /** Overrides every route. */
  readonly queueName: string | null;
}

export class MognetQueues {
  /** Requests, and replies to queries. */
  readonly direct: Exchange;
  /** Revokes and queries to every worker. */
  readonly control: Exchange;
  readonly #names: MognetNames;
  readonly #config: Pick<MognetConfig, "task_routes" | "default_task_route" | "task_queues">;
  readonly #declarations = new Map<string, Queue>();
  #routed: ReadonlySet<string> | null = null;
  /** Routes that task definitions name. */
  readonly #defined: (task: string) => string | undefined;
  readonly #definedQueues: () => Iterable<string>;

  /** `defined` are the queues of task definitions: a route for that task where `task_routes` has none. */
  constructor(
    names: MognetNames,
    config: Pick<MognetConfig, "task_routes" | "default_task_route" | "task_queues">,
    defined: { of: (task: string) => string | undefined; all: () => Iterable<string> },
  ) {
    this.#names = names;
    this.#config = config;
    this.#defined = defined.of;
    this.#definedQueues = defined.all;
    this.direct = { name: names.directExchange, type: "direct", durable: true };
    this.control = { name: names.controlExchange, type: "fanout", durable: false };
  }

  /** The queue that a request goes to, without the app's prefix. */
  routeOf({ name, queueName }: Routed): string {
    if (queueName !== null) return queueName;
    const { task_routes: routes, default_task_route: byDefault } = this.#config;
    return (Object.hasOwn(routes, name) ? routes[name] : undefined) ?? this.#defined(name) ?? byDefault;
  }

  /** Every queue that a route leads to, without prefix. */
  get routed(): readonly string[] {
    return [...this.#routes()];
  }

  isRouted(queue: string): boolean {
    return this.#routes().has(queue);
  }

  /** Task definitions were added. */
  changed(): void {
    this.#routed = null;
  }

  #routes(): ReadonlySet<string> {
    const { task_routes: routes, default_task_route: byDefault } = this.#config;
    this.#routed ??= new Set([...Object.values(routes), ...this.#definedQueues(), byDefault]);
    return this.#routed;
  }

  /** Those that a worker of this app consumes: all, only `include`, or all but `exclude`. */
  get consumed(): readonly string[] {
    const { include, exclude } = this.#config.task_queues;
    if (include.length > 0) return this.routed.filter((name) => include.includes(name));
    return this.routed.filter((name) => !exclude.includes(name));
  }

  /** How a task queue is declared. */
  task(queue: string): Queue {
    const known = this.#declarations.get(queue);
    if (known !== undefined) return known;
    const name = this.#names.taskQueue(queue);
    const declared: Queue = {
      name,
      exchange: this.direct,
      routingKey: name,
      durable: true,
      arguments: { ...MOGNET_TASK_QUEUE_ARGUMENTS },
    };
    // Others are a caller's own words, of which there may be any number.
    if (this.isRouted(queue)) this.#declarations.set(queue, declared);
    return declared;
  }

  /** A worker's own, bound to the control exchange. */
  controlOf(nodeId: string): Queue {
    return this.#transient(this.#names.controlQueue(nodeId), this.control);
  }

  /** Where replies to one query arrive. */
  callbackOf(nodeId: string): Queue {
    return this.#transient(this.#names.callbackQueue(nodeId), this.direct);
  }

  #transient(name: string, exchange: Exchange): Queue {
    return {
      name,
      exchange,
      routingKey: name,
      durable: false,
      autoDelete: true,
      own: true,
      arguments: { ...MOGNET_NODE_QUEUE_ARGUMENTS },
    };
  }
}
