/**
 * A TCP proxy between a client and its server that a test can break: cut connections, go silent, refuse.
 *
 * Modes: `passing` (bytes flow) -> `stalled` (connections stay open, and what either side sends vanishes, its end too, as
 * behind a dead firewall) or `refusing` (new connections are reset). `cut` resets the open connections and leaves the mode.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { HarnessError } from "./errors.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { loopback } from "./ports.ts";

/** For `tcpProxy()`. */
export interface TcpProxyOptions {
  /** A URL (`amqp://…`, `redis://…`) or `host:port`. */
  target: string;
  /** Listen here. @default a free port */
  port?: number;
}

const tcpProxyOptions: NamesOf<TcpProxyOptions> = {
  target: true,
  port: true,
};

type Mode = "passing" | "stalled" | "refusing";

interface Pair {
  client: Socket;
  server: Socket;
  /** Bytes were dropped: what follows would make no sense to either side. */
  torn: boolean;
}

/** Stands between a client and a server, and cuts, stalls or refuses their connections. */
export class TcpProxy implements AsyncDisposable {
  readonly port: number;
  /** The target's URL with this proxy in place of its host and port. */
  readonly url: string;
  #mode: Mode = "passing";
  readonly #pairs = new Set<Pair>();
  readonly #listener: Server;

  static async start(options: TcpProxyOptions): Promise<TcpProxy> {
    knownOptions(options, tcpProxyOptions, "tcpProxy()");
    const target = parseTarget(options.target);
    const listener = createServer();
    await new Promise<void>((resolve, reject) => {
      listener.once("error", reject);
      listener.listen(options.port ?? 0, loopback, resolve);
    });
    return new TcpProxy(listener, target, options.target);
  }

  private constructor(listener: Server, target: { host: string; port: number }, url: string) {
    const address = listener.address();
    if (address === null || typeof address === "string") throw new HarnessError("NO_PORT", "the proxy has no port");
    this.port = address.port;
    this.url = withPort(url, address.port);
    this.#listener = listener;
    listener.on("connection", (client) => this.#accept(client, target));
  }

  /** How many connections are open through it. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets every open connection; new ones are served according to the mode. Says how many there were. */
  cut(): number {
    const count = this.#pairs.size;
    for (const pair of this.#pairs) drop(pair);
    return count;
  }

  /** Keeps connections open and lets all bytes vanish, in both directions; that one side has closed is not told to the other. */
  stall(): void {
    this.#mode = "stalled";
  }

  /** Resets new connections. Open ones go on; `cut` them if they should not. */
  refuse(): void {
    this.#mode = "refusing";
  }

  /** Lets bytes flow again. Connections that lost bytes meanwhile are reset, since neither side could follow. */
  resume(): void {
    this.#mode = "passing";
    for (const pair of this.#pairs) if (pair.torn) drop(pair);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #accept(client: Socket, target: { host: string; port: number }): void {
    if (this.#mode === "refusing") {
      client.resetAndDestroy();
      return;
    }
    const server = connect(target);
    const pair: Pair = { client, server, torn: false };
    this.#pairs.add(pair);
    this.#pipe(pair, client, server);
    this.#pipe(pair, server, client);
  }

  #pipe(pair: Pair, from: Socket, to: Socket): void {
    from.setNoDelay(true);
    from.on("data", (bytes: Buffer) => {
      if (this.#mode === "stalled" || pair.torn) {
        pair.torn = true;
        return;
      }
      if (!to.write(bytes)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
    });
    from.on("end", () => {
      if (!pair.torn && this.#mode !== "stalled") to.end();
    });
    // Whatever ends one side ends the other; which error it was, each side sees for itself.
    from.on("error", () => undefined);
    from.on("close", () => {
      if (this.#mode === "stalled" && !to.destroyed) {
        pair.torn = true;
        return;
      }
      this.#pairs.delete(pair);
      to.destroySoon();
    });
  }
}

function drop(pair: Pair): void {
  pair.client.resetAndDestroy();
  pair.server.resetAndDestroy();
}

const defaultPorts: Readonly<Record<string, number>> = {
  "amqp:": 5672,
  "amqps:": 5671,
  "redis:": 6379,
  "rediss:": 6379,
};

function parseTarget(target: string): { host: string; port: number } {
  const url = new URL(target.includes("://") ? target : `tcp://${target}`);
  const port = Number(url.port) || defaultPorts[url.protocol];
  if (!port) throw new HarnessError("BAD_TARGET", "the target of a proxy needs a port");
  return { host: url.hostname || loopback, port };
}

function withPort(target: string, port: number): string {
  if (!target.includes("://")) return `${loopback}:${port}`;
  const url = new URL(target);
  url.hostname = loopback;
  url.port = String(port);
  return url.href;
}

/** Starts a proxy in front of a server. Point the client at `proxy.url`, then `cut()`, `stall()`, `refuse()`, `resume()`. */
export function tcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  return TcpProxy.start(options);
}
