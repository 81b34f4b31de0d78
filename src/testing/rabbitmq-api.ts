/** RabbitMQ's management API, as far as tests need it: virtual hosts of their own, what a queue holds, cut connections. */
import { randomUUID } from "node:crypto";
import { HarnessError } from "./errors.ts";
import { waitFor } from "./wait.ts";

/** What a queue holds. */
export interface QueueCounts {
  name: string;
  /** NaN: the server does not say yet. */
  ready: number;
  /** NaN: the server does not say yet. */
  unacked: number;
  consumers: number;
  durable: boolean;
  arguments: Record<string, unknown>;
}

/** RabbitMQ's management API, as far as tests need it. */
export interface RabbitmqApi {
  /** Whether the API answers and the virtual host `/` is up. */
  alive(): Promise<boolean>;
  /** A request of our own: `call("GET", "/api/overview")`. Answers parsed JSON, `null` for an empty answer or a 404. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  createVhost(name: string): Promise<void>;
  deleteVhost(name: string): Promise<void>;
  /** Counters of all queues. They are up to a quarter of a second old on a server of `startRabbitmq`. */
  queues(vhost?: string): Promise<QueueCounts[]>;
  /** Closes every client connection, or those to one virtual host, as an operator would; says how many. */
  closeConnections(vhost?: string): Promise<number>;
}

/** The management API behind a URL with credentials. */
export function rabbitmqApi(url: string): RabbitmqApi {
  const { username, password, origin } = new URL(url);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;

  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(origin + path, {
      method,
      headers: { authorization, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await answer.text();
    if (answer.status === 404) return null;
    if (!answer.ok) throw new HarnessError("RABBITMQ_API", `${method} ${path} answered ${answer.status}: ${text}`);
    return text === "" ? null : (JSON.parse(text) as unknown);
  };

  return {
    call,
    async alive() {
      const vhost = await call("GET", "/api/vhosts/%2F");
      const state = isRecord(vhost) && isRecord(vhost.cluster_state) ? Object.values(vhost.cluster_state) : [];
      return state.every((value) => value === "running") && vhost !== null;
    },
    async createVhost(name) {
      await call("PUT", `/api/vhosts/${encodeURIComponent(name)}`);
      await call("PUT", `/api/permissions/${encodeURIComponent(name)}/${username}`, {
        configure: ".*",
        write: ".*",
        read: ".*",
      });
    },
    async deleteVhost(name) {
      await call("DELETE", `/api/vhosts/${encodeURIComponent(name)}`);
    },
    async queues(vhost = "/") {
      const path = `/api/queues/${encodeURIComponent(vhost)}`;
      // The full rows of a new queue lack its counters for some five seconds; the totals have them at once.
      const [full, totals] = await Promise.all(
        [path, `${path}?disable_stats=true&enable_queue_totals=true`].map(async (at) => rows(await call("GET", at))),
      );
      const counted = new Map(totals?.map((row) => [row.name, row]));
      return (full ?? []).map((row) => ({
        name: String(row.name),
        ready: Number(counted.get(row.name)?.messages_ready ?? row.messages_ready),
        unacked: Number(counted.get(row.name)?.messages_unacknowledged ?? row.messages_unacknowledged),
        consumers: Number(row.consumers ?? 0),
        durable: row.durable === true,
        arguments: isRecord(row.arguments) ? row.arguments : {},
      }));
    },
    async closeConnections(vhost) {
      // A connection shows up with the next statistics interval after it was made.
      const wanted = await waitFor(
        async () => {
          const found = rows(await call("GET", "/api/connections")).filter(
            (row) => vhost === undefined || row.vhost === vhost,
          );
          return found.length > 0 ? found : undefined;
        },
        { describe: "a connection to close" },
      );
      for (const row of wanted) await call("DELETE", `/api/connections/${encodeURIComponent(String(row.name))}`);
      return wanted.length;
    },
  };
}

/** A virtual host that one test has for itself. */
export interface TempVhost extends AsyncDisposable {
  readonly name: string;
  /** The broker URL with this virtual host in place of its own. */
  readonly url: string;
}

/** Makes a virtual host that one test has for itself; disposal deletes it with all its queues. `api` and `amqpUrl` as of `startRabbitmq`. */
export async function tempVhost(api: RabbitmqApi | string, amqpUrl: string): Promise<TempVhost> {
  const client = typeof api === "string" ? rabbitmqApi(api) : api;
  const name = `lovage-${randomUUID().slice(0, 8)}`;
  await client.createVhost(name);
  const url = new URL(amqpUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return {
    name,
    url: url.href,
    async [Symbol.asyncDispose]() {
      await client.deleteVhost(name);
    },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function rows(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}
