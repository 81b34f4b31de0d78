/**
 * One AMQP connection on amqplib. amqplib makes it (TLS, login, tuning), keeps its heartbeat and does the calls that have an
 * answer; what carries messages goes through our own reader and outbox, for speed and for the reasons in `frame-reader.ts`.
 * That needs five members of amqplib's inner connection; they are checked when a connection is made.
 */
import { Buffer } from "node:buffer";
import type { EventEmitter } from "node:events";
import { readFile } from "node:fs/promises";
import { Duplex } from "node:stream";
import type { Connection as AmqplibConnection, Channel, ConfirmChannel } from "amqplib/callback_api";
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { ConnectionLost, TransportClosed } from "../errors.ts";
import { channelError, connectError, REPLY, replyCode } from "./broker-errors.ts";
import { pendingCalls } from "./calls.ts";
import { type ChannelInput, FrameReader } from "./frame-reader.ts";
import { Outbox } from "./outbox.ts";
import type { AmqpUrl } from "./urls.ts";

/** TLS material: each a path, or PEM text itself. Setting: `broker_use_ssl`. */
export interface AmqpTls {
  ca?: string;
  cert?: string;
  key?: string;
  passphrase?: string;
  /** Name that the certificate must bear. @default the host of the URL */
  servername?: string;
  /** @default true */
  rejectUnauthorized?: boolean;
}

export interface OpenOptions {
  tls?: AmqpTls | undefined;
  /** Milliseconds until a connection must stand. */
  timeoutMs: number;
  /** Seconds; 0 switches heartbeats off. */
  heartbeatS: number;
  clientName: string;
  loginMethod: "PLAIN" | "AMQPLAIN" | "EXTERNAL";
  maxBodyBytes: number;
}

export type AnyChannel = Channel | ConfirmChannel;

/** What we use of amqplib's inner connection. */
interface Inner extends EventEmitter {
  stream: Duplex;
  rest: Buffer;
  frameMax: number;
  recvSinceLastCheck: boolean;
  sentSinceLastCheck: boolean;
  recvFrame(): unknown;
}

function isInner(value: unknown): value is Inner {
  return (
    typeof value === "object" &&
    value !== null &&
    "stream" in value &&
    value.stream instanceof Duplex &&
    "rest" in value &&
    Buffer.isBuffer(value.rest) &&
    "frameMax" in value &&
    typeof value.frameMax === "number" &&
    "recvFrame" in value &&
    typeof value.recvFrame === "function" &&
    "recvSinceLastCheck" in value &&
    "sentSinceLastCheck" in value
  );
}

/** Opens a connection; rejects with `ConnectionRefused`, `ConnectionLost`, or `TransportClosed` when `signal` aborts. */
export async function openConnection(url: AmqpUrl, options: OpenOptions, signal: AbortSignal): Promise<AmqpConnection> {
  const driver = await loadAmqplib();
  if (signal.aborted) throw new TransportClosed();
  const giveUp = new AbortController();
  const onAbort = () => giveUp.abort();
  const late = setTimeout(onAbort, options.timeoutMs);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const socketOptions = {
      ...(url.tls ? await tlsOptions(options.tls ?? {}) : {}),
      noDelay: true,
      keepAlive: true,
      keepAliveDelay: 30_000,
      signal: giveUp.signal,
      credentials: login(driver, url, options.loginMethod),
      clientProperties: { product: "lovage", connection_name: options.clientName },
    };
    const address = {
      protocol: url.tls ? "amqps" : "amqp",
      hostname: url.hostname,
      port: url.port,
      vhost: encodeURIComponent(url.vhost),
      heartbeat: url.heartbeat ?? options.heartbeatS,
    };
    return await new Promise<AmqpConnection>((resolve, reject) => {
      driver.connect(address, socketOptions, (error: unknown, made) => {
        if (error) return reject(error);
        try {
          resolve(new AmqpConnection(made, url.shown, options.maxBodyBytes));
        } catch (unknownVersion) {
          reject(unknownVersion);
        }
      });
    });
  } catch (error) {
    if (signal.aborted) throw new TransportClosed("the transport was closed while it connected", { cause: error });
    if (error instanceof ImproperlyConfigured) throw error;
    if (giveUp.signal.aborted) {
      throw new ConnectionLost(`${url.shown} did not answer within ${options.timeoutMs} ms`, { cause: error });
    }
    throw connectError(error, url.shown, url.vhost);
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", onAbort);
  }
}

export class AmqpConnection {
  /** Without credentials. */
  readonly url: string;
  readonly outbox: Outbox;
  /** RabbitMQ applies `basic.qos` to each consumer, not to the channel (version 4 and later). */
  readonly perConsumerQos: boolean;
  /** What the broker calls itself. */
  readonly product: string;
  readonly version: string;
  /** When the last bytes came in, by `performance.now()`. */
  lastReceived = performance.now();
  /** The broker is short of memory or disk and takes no messages. */
  blocked = false;
  onBlocked: (reason: string | null) => void = () => undefined;
  /** Resolves, once, when the connection has ended for whatever reason. */
  readonly ended: Promise<Error>;
  #end!: (error: Error) => void;
  #cause: Error | null = null;
  #over = false;
  readonly #amqplib: AmqplibConnection;
  readonly #inner: Inner;
  readonly #reader: FrameReader;

  constructor(amqplib: AmqplibConnection, url: string, maxBodyBytes: number) {
    const inner: unknown = amqplib.connection;
    if (!isInner(inner)) throw new ImproperlyConfigured("this version of amqplib is not known; install amqplib 2.3");
    this.url = url;
    this.#amqplib = amqplib;
    this.#inner = inner;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const { version, product } = amqplib.connection.serverProperties;
    this.product = String(product);
    this.version = String(version);
    this.perConsumerQos = product === "RabbitMQ" && Number.parseInt(String(version), 10) >= 4;
    this.outbox = new Outbox(inner.stream, inner.frameMax, () => {
      inner.sentSinceLastCheck = true;
    });
    const theirs = inner.recvFrame.bind(inner);
    this.#reader = new FrameReader(
      inner.rest,
      () => this.#pull(),
      (frame) => {
        inner.rest = frame;
        return theirs();
      },
      maxBodyBytes,
    );
    inner.recvFrame = () => this.#reader.next();
    amqplib.on("error", (error) => {
      this.#cause ??= error;
    });
    amqplib.on("close", (error?: Error) => this.#onEnd(error));
    amqplib.on("blocked", (reason) => {
      this.blocked = true;
      this.onBlocked(reason);
    });
    amqplib.on("unblocked", () => {
      this.blocked = false;
      this.onBlocked(null);
    });
  }

  get over(): boolean {
    return this.#over;
  }

  /** Calls that the broker has not answered. */
  get pendingCalls(): number {
    return pendingCalls(this.#inner);
  }

  /** The broker ended the connection because of something that we sent. */
  get refusal(): Error | null {
    const code = replyCode(this.#cause);
    return code !== null && code >= REPLY.hardErrors ? this.#cause : null;
  }

  /** Opens a channel and hands what arrives for it to `input`. */
  async openChannel(input: ChannelInput | null, onClosed: (error: Error | null) => void): Promise<Channel> {
    const channel = await this.#open<Channel>((done) => this.#amqplib.createChannel(done));
    this.#listen(channel, input, onClosed);
    return channel;
  }

  async openConfirmChannel(input: ChannelInput, onClosed: (error: Error | null) => void): Promise<ConfirmChannel> {
    const channel = await this.#open<ConfirmChannel>((done) => this.#amqplib.createConfirmChannel(done));
    this.#listen(channel, input, onClosed);
    return channel;
  }

  /** Says goodbye and waits for the answer, at most `ms`; then nothing is left of it. */
  async close(ms: number): Promise<void> {
    if (!this.#over) {
      this.outbox.flush();
      const bye = new Promise<void>((resolve) => {
        try {
          this.#amqplib.close(() => resolve());
        } catch (error) {
          this.#cause ??= error instanceof Error ? error : null;
          resolve(); // amqplib's way of saying that it has ended already
        }
      });
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
      });
      await Promise.race([bye, late, this.ended]);
      clearTimeout(timer);
    }
    // Without an error amqplib would not notice, and its heartbeats would keep the process alive for as long as they are patient.
    if (this.#over) this.#inner.stream.destroy();
    else this.#inner.stream.destroy(new TransportClosed());
    this.#onEnd(new TransportClosed());
  }

  /** Ends it at once: it is known to be dead. */
  kill(error: Error): void {
    this.#cause ??= error;
    this.#inner.stream.destroy(error);
  }

  #open<T extends AnyChannel>(create: (done: (error: unknown, channel: T) => void) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#lost());
      try {
        const channel = create((error) => (error ? reject(channelError(error)) : resolve(channel)));
      } catch (error) {
        reject(channelError(error));
      }
    });
  }

  #listen(channel: AnyChannel, input: ChannelInput | null, onClosed: (error: Error | null) => void): void {
    const number = channelNumber(channel);
    if (input) this.#reader.listen(number, input);
    let cause: Error | null = null;
    channel.on("error", (error) => {
      cause = error;
    });
    channel.on("close", () => {
      this.#reader.unlisten(number);
      onClosed(cause);
    });
  }

  #pull(): Buffer | null {
    const bytes: unknown = this.#inner.stream.read();
    if (!Buffer.isBuffer(bytes)) return null;
    this.#inner.recvSinceLastCheck = true;
    this.lastReceived = performance.now();
    return bytes;
  }

  #lost(): ConnectionLost {
    const why = this.#cause ? `: ${this.#cause.message}` : "";
    return new ConnectionLost(`the connection to ${this.url} was lost${why}`, { cause: this.#cause });
  }

  #onEnd(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#cause ??= error ?? null;
    this.outbox.close();
    // amqplib half-closes; a dead peer never answers that, so what is left of the socket goes soon.
    const { stream } = this.#inner;
    setTimeout(() => stream.destroy(), 500).unref();
    this.#end(this.#cause instanceof TransportClosed ? this.#cause : this.#lost());
  }
}

/** The number of a channel on its connection. */
export function channelNumber(channel: AnyChannel): number {
  const number: unknown = "ch" in channel ? channel.ch : undefined;
  if (typeof number !== "number") {
    throw new ImproperlyConfigured("this version of amqplib is not known; install amqplib 2.3");
  }
  return number;
}

type Amqplib = typeof import("amqplib/callback_api");

/** A process that speaks no AMQP starts sooner without it. */
async function loadAmqplib(): Promise<Amqplib> {
  try {
    return await import("amqplib/callback_api");
  } catch (cause) {
    throw new ImproperlyConfigured("the package amqplib, which speaks to RabbitMQ, cannot be loaded", { cause });
  }
}

function login({ credentials }: Amqplib, url: AmqpUrl, method: OpenOptions["loginMethod"]) {
  switch (method) {
    case "EXTERNAL":
      return credentials.external();
    case "AMQPLAIN":
      return credentials.amqplain(url.username, url.password);
    case "PLAIN":
      return credentials.plain(url.username, url.password);
  }
}

async function tlsOptions(tls: AmqpTls) {
  const [ca, cert, key] = await Promise.all([pem(tls.ca, "ca"), pem(tls.cert, "cert"), pem(tls.key, "key")]);
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(tls.passphrase === undefined ? {} : { passphrase: tls.passphrase }),
    ...(tls.servername === undefined ? {} : { servername: tls.servername }),
    rejectUnauthorized: tls.rejectUnauthorized ?? true,
  };
}

/** Read anew for each connection, so that a renewed certificate is used without a restart. */
async function pem(value: string | undefined, what: string): Promise<string | undefined> {
  if (value === undefined || value.includes("-----BEGIN")) return value;
  try {
    return await readFile(value, "utf8");
  } catch (cause) {
    throw new ImproperlyConfigured(`cannot read the TLS ${what} file ${value}`, { cause });
  }
}
