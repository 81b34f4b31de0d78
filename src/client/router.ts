/**
 * Where a task goes: call options over `task_routes` over the default queue, and from that the exchange and routing key
 * to publish with. wire: celery-wire 4.1; celery/app/routes.py `Router.route`, `MapRoute`; celery/app/amqp.py `send_task_message`.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Address } from "../../protocol/message.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import { fnmatch } from "../settings/fnmatch.ts";
import type { ConfiguredQueue } from "../settings/queues-setting.ts";
import { parseRoute, type Route, type RouteFunction, type RouterSetting } from "../settings/routes-setting.ts";
import type { Settings } from "../settings/settings.ts";
import { type Queues, standaloneQueue } from "./queues.ts";

/** The call's own routing options: null is an option that was set to nothing, undefined one that was not given. */
export type RouteOptions = Route;

/** The same after routing; `queue` is looked up. */
export interface Routed extends Omit<Route, "queue"> {
  readonly queue?: Queue | null;
}

/** Where a message is published, and what must exist there. */
export interface Destination {
  readonly address: Address;
  /** Declared before the first publish. Null: an exchange that is expected to exist. */
  readonly queue: Queue | null;
  /** What else is declared before it. */
  readonly also?: readonly Queue[];
  /** 1 or 2. */
  readonly deliveryMode: number;
}

export interface RoutedTask {
  readonly name: string;
}

/** Routes of task names that are remembered. */
const REMEMBERED = 10_000;

export class Router {
  readonly #settings: Settings;
  readonly #queues: Queues;
  readonly #routers: readonly (MapRoute | RouteFunction)[];
  /** Only while every router is a table: then the name alone decides. */
  readonly #byName: Map<string, Routed | null> | null;

  constructor(settings: Settings, queues: Queues) {
    this.#settings = settings;
    this.#queues = queues;
    this.#routers = (settings.task_routes ?? []).map((router) => (isTable(router) ? new MapRoute(router) : router));
    this.#byName = this.#routers.every((router) => router instanceof MapRoute) ? new Map() : null;
  }

  /** Every router is a table: calls of one name with the same options go the same way, whatever their arguments. */
  get asksNamesOnly(): boolean {
    return this.#byName !== null;
  }

  /** Merges call options, the first route that matches, and the default queue. */
  route(
    options: RouteOptions,
    name: string,
    args: readonly unknown[] = [],
    kwargs: Readonly<Record<string, unknown>> = {},
    task: RoutedTask | null = null,
  ): Routed {
    const call = this.#expand(options);
    const found = this.#routers.length === 0 ? null : this.#lookUp(name, args, kwargs, call, task);
    if (found !== null) return lpmerge(found, call);
    if (call.queue === undefined) return lpmerge({ queue: this.#queues.default }, call);
    return call;
  }

  /** Celery's rule of the anonymous exchange: a direct queue is addressed by name unless exchange and routing key are both given. */
  destination(routed: Routed): Destination {
    const exchangeName = routed.exchange?.name ?? null;
    let queue = routed.queue ?? null;
    if (queue === null && exchangeName === null) queue = this.#queues.default;
    const deliveryMode =
      routed.deliveryMode ?? (queue?.exchange.deliveryMode || this.#settings.task_default_delivery_mode);
    const type = routed.exchangeType ?? queue?.exchange.type ?? "direct";
    return { address: this.#address(routed, exchangeName, queue, type), queue, deliveryMode };
  }

  #address(routed: Routed, exchangeName: string | null, queue: Queue | null, type: Exchange["type"]): Address {
    const routingKey = routed.routingKey ?? null;
    if ((!exchangeName || !routingKey) && type === "direct") {
      if (queue !== null) return { exchange: "", routingKey: queue.name };
      throw new ImproperlyConfigured(
        `exchange ${JSON.stringify(exchangeName)} without a queue needs a routing key (or an exchangeType other than direct)`,
      );
    }
    if (exchangeName === null && queue !== null) {
      return {
        exchange: queue.exchange.name || this.#queues.defaultExchange.name,
        routingKey: routingKey || queue.routingKey || this.#queues.defaultRoutingKey,
      };
    }
    return { exchange: exchangeName ?? "", routingKey: routingKey ?? "" };
  }

  #lookUp(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    call: Routed,
    task: RoutedTask | null,
  ): Routed | null {
    const remembered = this.#byName?.get(name);
    if (remembered !== undefined) return remembered;
    let found: Routed | null = null;
    for (const router of this.#routers) {
      const route = router instanceof MapRoute ? router.find(name) : ask(router, name, args, kwargs, call, task);
      if (route === null) continue;
      // An empty route ends the search and means the default queue.
      found = isEmpty(route) ? null : this.#expand(route);
      break;
    }
    if (this.#byName !== null) {
      if (this.#byName.size >= REMEMBERED) this.#byName.clear();
      this.#byName.set(name, found);
    }
    return found;
  }

  #expand(route: Route): Routed {
    const { queue, ...rest } = route;
    if (queue === undefined || queue === null || queue === "") return rest;
    return { ...rest, queue: typeof queue === "string" ? this.#queues.get(queue) : this.#asQueue(queue) };
  }

  #asQueue(queue: ConfiguredQueue): Queue {
    return standaloneQueue(queue);
  }
}

function isTable(router: RouterSetting): router is Exclude<RouterSetting, RouteFunction> {
  return typeof router !== "function";
}

function isEmpty(route: Route): boolean {
  return Object.values(route).every((value) => value === undefined);
}

/** `winner` takes precedence where it is neither null nor absent (celery/utils/collections.py). */
function lpmerge(base: Routed, winner: Routed): Routed {
  const merged: Record<string, unknown> & Routed = { ...base };
  for (const [key, value] of Object.entries(winner)) {
    if (value !== undefined && value !== null) merged[key] = value;
  }
  return merged;
}

function ask(
  router: RouteFunction,
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  call: Routed,
  task: RoutedTask | null,
): Route | null {
  const { queue, ...rest } = call;
  const answer: unknown = router(name, args, kwargs, queue ? { ...rest, queue } : rest, task);
  if (answer === null || answer === undefined) return null;
  if (answer instanceof Promise) {
    throw new ImproperlyConfigured(`the route function for ${name} gave a promise; routing is synchronous`);
  }
  return parseRoute(answer, `the route function's answer for ${name}`);
}

/** One table: names first, then globs (those with `*`) and regular expressions in their order, anchored at the start as `re.match` is. */
class MapRoute {
  readonly #exact = new Map<string, Route>();
  readonly #patterns: { matches: (name: string) => boolean; route: Route }[] = [];

  constructor(table: Exclude<RouterSetting, RouteFunction>) {
    for (const [pattern, route] of table) {
      if (pattern instanceof RegExp) this.#patterns.push({ matches: anchored(pattern), route });
      else if (pattern.includes("*")) this.#patterns.push({ matches: fnmatch(pattern), route });
      else this.#exact.set(pattern, route);
    }
  }

  find(name: string): Route | null {
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    return this.#patterns.find(({ matches }) => matches(name))?.route ?? null;
  }
}

function anchored(pattern: RegExp): (name: string) => boolean {
  const sticky = new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, "")}y`);
  return (name) => {
    sticky.lastIndex = 0;
    return sticky.test(name);
  };
}
