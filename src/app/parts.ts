/** Builds the parts that the settings ask for: the only place that names a concrete transport or result backend. */
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { acceptedTypes, builtinSerializers, type DecodeLimits } from "../../protocol/serialization.ts";
import { createFileBackend } from "../result-backends/file.ts";
import { createMemoryBackend, MemoryHub as ResultHub } from "../result-backends/memory.ts";
import type { RedisChordOptions } from "../result-backends/redis/chords.ts";
import { createRedisBackend } from "../result-backends/redis.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { createRpcBackend } from "../result-backends/rpc.ts";
import { compress, decompress } from "../runtime/compression.ts";
import type { Log } from "../runtime/log.ts";
import { inPoolChild } from "../runtime/pool-child.ts";
import type { Settings } from "../settings/settings.ts";
import { embeddedFolders, makeEmbeddedFolders, type PickedBroker, pickBackend, pickBroker } from "../settings/urls.ts";
import { createAmqpTransport } from "../transports/amqp.ts";
import { createFilesystemTransport } from "../transports/filesystem.ts";
import { createMemoryTransport } from "../transports/memory.ts";
import { createRedisTransport } from "../transports/redis.ts";
import type { Transport, TransportEvents } from "../transports/transport.ts";
import { amqpTls } from "./broker-tls.ts";

export interface PartsContext {
  settings: Settings;
  log: Log;
  /** Apps of one process with the same name share memory brokers and stores. */
  hub: string;
}

export interface TransportWants {
  purpose: "read" | "write";
  events?: TransportEvents;
}

export function limitsOf(settings: Settings): DecodeLimits {
  return {
    maxDepth: settings.lovage_max_message_depth,
    ...(settings.lovage_exact_floats ? { floats: "keep" as const } : {}),
  };
}

/** The broker that the settings name. Announces the embedded default in one log line. */
export function makeTransport(context: PartsContext, wants: TransportWants): Transport {
  const { settings, log } = context;
  const picked = pickBroker(settings, { purpose: wants.purpose });
  if (picked.embedded) {
    makeEmbeddedFolders(embeddedFolders());
    if (picked.notice !== null) sayOnce(log, picked.notice);
  }
  const common = { log, ...(wants.events === undefined ? {} : { events: wants.events }) };
  const declareMode = settings.lovage_declare;
  const tls = settings.broker_use_ssl === false ? {} : { tls: settings.broker_use_ssl };
  switch (picked.kind) {
    case "amqp":
      return createAmqpTransport({
        ...common,
        ...(settings.broker_use_ssl === false ? {} : { tls: amqpTls(settings.broker_use_ssl) }),
        urls: picked.urls,
        failover: settings.broker_failover_strategy ?? "round-robin",
        maxBodyBytes: settings.lovage_max_message_bytes,
        declareMode,
        connectionTimeoutMs: (settings.broker_connection_timeout ?? 4) * 1000,
        heartbeatS: settings.broker_heartbeat ?? 0,
      });
    case "redis":
      return createRedisTransport({
        ...common,
        ...tls,
        ...milliseconds("connectTimeoutMs", settings.broker_connection_timeout),
        urls: picked.urls,
        transportOptions: picked.transportOptions,
        declareMode,
        maxMessageBytes: wireBytes(settings),
      });
    case "filesystem":
      return createFilesystemTransport({
        ...common,
        ...folderOptions(picked),
        declareMode,
        maxMessageBytes: wireBytes(settings),
      });
    case "memory":
      // What is sent to a queue of its own memory is taken by nobody.
      if (inPoolChild()) throw new ImproperlyConfigured(NO_SHARED_MEMORY);
      return createMemoryTransport({ log, hub: context.hub });
  }
}

/** An option from a setting in seconds; nothing from null and 0, so that the part's own default holds. */
function milliseconds<Name extends string>(name: Name, seconds: number | null): { [K in Name]?: number } {
  const option: { [K in Name]?: number } = {};
  if (seconds !== null && seconds > 0) Object.assign(option, { [name]: Math.ceil(seconds * 1000) });
  return option;
}

/** A base64 body and its envelope around the longest body that is read. */
function wireBytes(settings: Settings): number {
  return Math.ceil(settings.lovage_max_message_bytes * 1.4) + 65_536;
}

function folderOptions(picked: PickedBroker) {
  const options = picked.transportOptions;
  const text = (name: string): string | undefined => {
    const value = options[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === "string") return value;
    throw new ImproperlyConfigured(`broker_transport_options.${name} is the path of a folder`);
  };
  return {
    dataFolderIn: text("data_folder_in") ?? "data_in",
    dataFolderOut: text("data_folder_out") ?? "data_out",
    controlFolder: text("control_folder") ?? "control",
    processedFolder: text("processed_folder") ?? "processed",
    storeProcessed: options.store_processed === true,
    ...(typeof options.polling_interval === "number" ? { pollingInterval: options.polling_interval } : {}),
  };
}

const NO_SHARED_MEMORY =
  "the memory:// broker is the worker's own, and a thread or process of its pool does not reach it: send with ctx.send or ctx.sendTask";

const hubs = new Map<string, ResultHub>();

function hubOf(name: string): ResultHub {
  let hub = hubs.get(name);
  if (hub === undefined) {
    hub = new ResultHub();
    hubs.set(name, hub);
  }
  return hub;
}

/** The broker connection that carries rpc replies, and how to hear of its losses. */
export interface SharedBroker {
  transport: Transport;
  watch: (events: TransportEvents) => void;
}

/** The result store that the settings name; null when results are kept nowhere. */
export function makeBackend(context: PartsContext, broker: () => SharedBroker): ResultBackend<ResultMeta> | null {
  const { settings, log } = context;
  const picked = pickBackend(settings);
  if (picked.kind === "disabled") return null;
  const transportOptions = settings.result_backend_transport_options;
  const maxBytes = settings.lovage_max_decompressed_bytes;
  const compression = settings.result_compression;
  const valueCompression = {
    ...(compression === null ? {} : { compress: (bytes: Uint8Array) => compress(compression, bytes) }),
    decompress: (mime: string, bytes: Uint8Array) => decompress(mime, bytes, { maxBytes }),
  };
  const prefix = transportOptions.global_keyprefix;
  const codec = celeryRecordCodec({
    serializer: builtinSerializers.byName(settings.result_serializer),
    accept: acceptedTypes(settings.result_accept_content ?? settings.accept_content),
    limits: limitsOf(settings),
    expires: settings.result_expires,
    ...(settings.result_failure_expires === null ? {} : { failureExpires: settings.result_failure_expires }),
    globalKeyprefix: typeof prefix === "string" ? prefix : null,
  });
  switch (picked.kind) {
    case "redis":
      return createRedisBackend({
        codec,
        urls: picked.urls,
        transportOptions,
        log,
        compression: valueCompression,
        chords: chordOptions(settings),
        ...milliseconds("connectTimeoutMs", settings.redis_socket_connect_timeout),
        ...milliseconds("answerTimeoutMs", settings.redis_socket_timeout),
        ...(settings.redis_backend_use_ssl === null ? {} : { tls: settings.redis_backend_use_ssl }),
      });
    case "rpc": {
      const { transport, watch } = broker();
      const backend = createRpcBackend({
        codec,
        transport,
        log,
        expires: settings.result_expires,
        persistent: settings.result_persistent ?? false,
      });
      watch({
        onConnected: () => backend.transportConnected(),
        onLost: (error) => backend.transportLost(error),
      });
      return backend;
    }
    case "file":
      return createFileBackend({ codec, url: picked.urls[0]!, log, compression: valueCompression });
    case "memory":
      return createMemoryBackend({ codec, hub: hubOf(context.hub) });
  }
}

/** celery/backends/base.py `chord_expires`, `_chord_result_expires`: a group's record outlives neither its results nor its chord. */
function chordOptions(settings: Settings): RedisChordOptions {
  const expires = settings.result_expires ?? 0;
  const chordExpires = settings.result_chord_expires ?? expires;
  return {
    ordered: settings.result_backend_transport_options.result_chord_ordered !== false,
    expires: chordExpires,
    groupExpires: chordExpires === 0 || expires === 0 ? 0 : Math.max(chordExpires, expires),
    saveExpires: expires,
    joinTimeout: settings.result_chord_join_timeout,
  };
}

const said = new Set<string>();

function sayOnce(log: Log, notice: string): void {
  if (said.has(notice)) return;
  said.add(notice);
  log.info({}, notice);
}
