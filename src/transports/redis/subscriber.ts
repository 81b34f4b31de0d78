/**
 * The second connection: pub/sub. It carries fanout messages (celery-wire 6.3, `PSUBSCRIBE`) and, for the waiting of
 * `waiting.ts`, the server's notes that a watched key was changed. It is made when first needed, always to the endpoint that
 * the command connection stands on, and subscribes anew by itself after a loss.
 */
import type { Log } from "../../runtime/log.ts";
import {
  type ConnectRedisOptions,
  connectionError,
  connectRedis,
  endRedis,
  type Redis,
  type RedisTarget,
  whenReady,
} from "../../runtime/redis-connection.ts";
import { TransportError } from "../errors.ts";
import type { LinkMember, RedisLink } from "./link.ts";

export const INVALIDATIONS = "__redis__:invalidate";

export interface Subscription {
  readonly pattern: string;
  onMessage(channel: string, text: Buffer): void;
}

export interface InvalidationListener {
  /** The connection listens; `id` is what `CLIENT TRACKING … REDIRECT` wants. Null: the server does not let us listen. */
  whenListening(id: string | null): void;
  whenDeaf(): void;
  /** Watched keys were changed. */
  changed(): void;
}

export class Subscriber implements LinkMember {
  readonly #link: RedisLink;
  readonly #target: RedisTarget;
  readonly #connection: Omit<ConnectRedisOptions, "purpose">;
  readonly #name: string;
  readonly #log: Log;
  readonly #patterns = new Map<string, Set<Subscription>>();
  #listener: InvalidationListener | null = null;
  #client: Redis | null = null;
  #endpoint = "";
  /** Of the present connection. */
  #id: Promise<string> | null = null;

  constructor(
    link: RedisLink,
    target: RedisTarget,
    options: { connection: Omit<ConnectRedisOptions, "purpose">; clientName: string; log: Log },
  ) {
    this.#link = link;
    this.#target = target;
    this.#connection = options.connection;
    this.#name = options.clientName;
    this.#log = options.log;
  }

  /** From now on `listener` hears of changed keys. */
  listen(listener: InvalidationListener): void {
    this.#listener = listener;
    if (this.#client?.status === "ready") void this.#listen(this.#client);
    else this.#ensure();
  }

  /** Resolves when the server confirmed the subscription; while disconnected it waits. */
  async subscribe(subscription: Subscription): Promise<void> {
    const same = this.#patterns.get(subscription.pattern);
    if (same === undefined) this.#patterns.set(subscription.pattern, new Set([subscription]));
    else same.add(subscription);
    await this.#link.retrying(async () => {
      this.#ensure();
      const client = this.#client;
      if (client === null) return;
      try {
        await whenReady(client);
        await client.psubscribe(subscription.pattern);
      } catch (error) {
        if (error instanceof Error && error.name === "ReplyError") throw new TransportError("REDIS", error.message);
        // The next connection subscribes to every pattern by itself.
        if (!this.#link.closed)
          this.#log.debug({ err: connectionError(error) }, "subscribing again with the next connection");
      }
    });
  }

  async unsubscribe(subscription: Subscription): Promise<void> {
    const same = this.#patterns.get(subscription.pattern);
    if (same === undefined) return;
    same.delete(subscription);
    if (same.size > 0) return;
    this.#patterns.delete(subscription.pattern);
    if (this.#client?.status !== "ready") return;
    await this.#client.punsubscribe(subscription.pattern).catch((error: unknown) => this.#failed(error));
  }

  whenUp(): void {
    if (this.#patterns.size > 0 || this.#listener !== null) this.#ensure();
  }

  whenDown(): void {
    if (!this.#link.closed) return;
    this.#drop();
    this.#patterns.clear();
    this.#listener = null;
  }

  #ensure(): void {
    const endpoint = this.#link.endpoint;
    if (this.#link.closed || endpoint === undefined) return;
    if (this.#client !== null && this.#endpoint === endpoint.name) return;
    this.#drop();
    this.#endpoint = endpoint.name;
    const client = connectRedis(
      { endpoints: [endpoint], sentinel: this.#target.sentinel },
      {
        ...this.#connection,
        purpose: `${this.#name}-subscriber`,
        onConnected: () => void this.#connected(client),
        onLost: () => this.#listener?.whenDeaf(),
      },
    );
    this.#client = client;
    client.on("pmessageBuffer", (pattern: string, channel: Buffer, text: Buffer) => {
      const subscriptions = this.#patterns.get(String(pattern));
      if (subscriptions === undefined) return;
      const name = channel.toString();
      for (const subscription of [...subscriptions]) subscription.onMessage(name, text);
    });
    client.on("messageBuffer", (channel: Buffer) => {
      if (channel.toString() === INVALIDATIONS) this.#listener?.changed();
    });
  }

  async #connected(client: Redis): Promise<void> {
    // Asked before any subscription: a connection that has one does not tell any more (RESP2).
    const id = client.client("ID").then(String);
    id.catch(() => undefined);
    this.#id = id;
    try {
      if (this.#listener !== null) await this.#listen(client);
      if (this.#patterns.size > 0) await client.psubscribe(...this.#patterns.keys());
    } catch (error) {
      this.#failed(error);
    }
  }

  async #listen(client: Redis): Promise<void> {
    let id: string | null = null;
    try {
      id = await (this.#id ?? client.client("ID").then(String));
      await client.subscribe(INVALIDATIONS);
    } catch (error) {
      if (client !== this.#client || client.status !== "ready") return;
      if (error instanceof Error && /subscriber mode/.test(error.message)) {
        client.stream.destroy();
        return;
      }
      this.#failed(error);
      id = null;
    }
    if (client === this.#client) this.#listener?.whenListening(id);
  }

  #failed(error: unknown): void {
    if (this.#link.closed || this.#client?.status !== "ready") return;
    this.#log.warn({ err: connectionError(error) }, "Redis refused a subscription");
  }

  #drop(): void {
    const client = this.#client;
    this.#client = null;
    this.#id = null;
    if (client === null) return;
    client.removeAllListeners("pmessageBuffer").removeAllListeners("messageBuffer");
    endRedis(client);
    this.#listener?.whenDeaf();
  }
}
