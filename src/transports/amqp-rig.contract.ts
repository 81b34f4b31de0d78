/** What the AMQP tests share: a virtual host of their own, and a proxy that misbehaves as networks do. Not shipped. */
import { randomUUID } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { ImproperlyConfigured } from "../../protocol/errors.ts";

export interface Vhost {
  name: string;
  url: string;
  remove(): Promise<void>;
}

const AMQP_URL = process.env.LOVAGE_TEST_AMQP_URL;
const API = process.env.LOVAGE_TEST_RABBITMQ_API;

/** Whether there is a RabbitMQ to test with. Its absence is an error where everything must be there. */
export function haveRabbit(): boolean {
  if (AMQP_URL && API) return true;
  if (process.env.CI === "true") {
    throw new ImproperlyConfigured("LOVAGE_TEST_AMQP_URL and LOVAGE_TEST_RABBITMQ_API must be set in CI");
  }
  return false;
}

/** Calls RabbitMQ's management interface. */
export async function rabbitApi(method: string, path: string, body?: unknown): Promise<Response> {
  const url = new URL(API ?? "");
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const response = await fetch(new URL(path, url.origin), {
    method,
    headers: { authorization: `Basic ${Buffer.from(login).toString("base64")}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok && response.status !== 404) {
    throw new TypeError(`${method} ${path}: ${response.status} ${await response.text()}`);
  }
  return response;
}

export async function makeVhost(): Promise<Vhost> {
  const name = `lovage-${randomUUID()}`;
  const base = new URL(AMQP_URL ?? "");
  const user = decodeURIComponent(base.username) || "guest";
  await rabbitApi("PUT", `/api/vhosts/${name}`);
  await rabbitApi("PUT", `/api/permissions/${name}/${user}`, { configure: ".*", write: ".*", read: ".*" });
  base.pathname = `/${name}`;
  return {
    name,
    url: base.href,
    async remove() {
      await rabbitApi("DELETE", `/api/vhosts/${name}`);
    },
  };
}

/** A TCP proxy before the broker. */
export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #clients = new Set<Socket>();
  /** Whose other end has gone unheard. */
  readonly #unheard = new Set<Socket>();
  readonly #target: { host: string; port: number };
  readonly #original: URL;
  #silent = false;
  #port = 0;
  accepted = 0;
  /** Changes what clients send. */
  rewrite: (bytes: Buffer) => Buffer = (bytes) => bytes;

  private constructor(url: string) {
    this.#original = new URL(url);
    this.#target = {
      host: this.#original.hostname,
      port: Number(this.#original.port || "5672"),
    };
    this.#server = createServer((client) => this.#onClient(client));
  }

  static async before(url: string): Promise<Proxy> {
    const proxy = new Proxy(url);
    await proxy.listen();
    return proxy;
  }

  get url(): string {
    const url = new URL(this.#original);
    url.hostname = "127.0.0.1";
    url.port = `${this.#port}`;
    return url.href;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (address !== null && typeof address === "object") this.#port = address.port;
  }

  /** Breaks what is connected; new connections work. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Breaks what is connected and refuses new connections until `listen`. */
  async refuse(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  /** Swallows every byte and every end, both ways, of what is connected now and later: the connection looks alive. */
  set silent(silent: boolean) {
    this.#silent = silent;
    if (silent) return;
    for (const socket of this.#unheard) socket.destroy();
    this.#unheard.clear();
  }

  /** Says something to every client in the broker's name. To be used while the connection rests. */
  inject(bytes: Buffer): void {
    for (const socket of this.#clients) socket.write(bytes);
  }

  async close(): Promise<void> {
    this.silent = false;
    if (this.#server.listening) await this.refuse();
    this.cut();
  }

  #onClient(client: Socket): void {
    this.accepted++;
    this.#clients.add(client);
    client.on("close", () => this.#clients.delete(client));
    const broker = connect(this.#target);
    this.#join(client, broker, (bytes) => this.rewrite(bytes));
    this.#join(broker, client, (bytes) => bytes);
  }

  #join(from: Socket, to: Socket, change: (bytes: Buffer) => Buffer): void {
    this.#sockets.add(from);
    from.on("data", (bytes) => {
      if (!this.#silent) to.write(change(bytes));
    });
    from.on("error", () => from.destroy());
    from.on("end", () => {
      if (!this.#silent) to.end();
    });
    from.on("close", () => {
      this.#sockets.delete(from);
      this.#unheard.delete(from);
      if (this.#silent && !to.destroyed) this.#unheard.add(to);
      else to.destroy();
    });
  }
}
