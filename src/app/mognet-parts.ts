/** Builds the parts that a Mognet app's configuration asks for. */

import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { createMemoryMognetStore } from "../result-backends/mognet/memory-store.ts";
import type { MognetStore, MognetStoreSettings } from "../result-backends/mognet/mognet-store.ts";
import { createRedisMognetStore } from "../result-backends/mognet/redis-store.ts";
import type { Log } from "../runtime/log.ts";
import { type MognetConfig, patienceS } from "../settings/mognet-config.ts";
import { createAmqpTransport } from "../transports/amqp.ts";
import { createMemoryTransport } from "../transports/memory.ts";
import type { Transport, TransportEvents } from "../transports/transport.ts";

export interface MognetParts {
  app: string;
  config: MognetConfig;
  log: Log;
}

/** Apps of one process with the same name and URL share a memory broker. */
const isMemory = (url: string) => url.startsWith("memory:");

export function makeMognetTransport({
  app,
  config,
  log,
  events,
}: MognetParts & { events: TransportEvents }): Transport {
  const { url } = config.broker.amqp;
  if (isMemory(url)) return createMemoryTransport({ log, hub: `mognet ${app} ${url}` });
  const { max_message_bytes, broker_connection_timeout, broker_heartbeat } = config.lovage;
  return createAmqpTransport({
    urls: url.split(";").map((part) => part.trim()),
    log,
    events,
    clientName: config.node_id,
    maxBodyBytes: max_message_bytes,
    connectionTimeoutMs: broker_connection_timeout * 1000,
    heartbeatS: broker_heartbeat,
    backoff: { maxMs: Math.max(100, config.reconnect_interval * 1000) },
  });
}

/** Where results are, and the state of running tasks. */
export function makeMognetStore({ app, config, log }: MognetParts): MognetStore {
  const { redis } = config.result_backend;
  const settings: MognetStoreSettings = {
    resultTtl: redis.result_ttl,
    resultValueTtl: redis.result_value_ttl,
    resultValueEncoding: redis.result_value_encoding,
    stateTtl: config.state_backend.redis.state_ttl,
    exactFloats: config.lovage.exact_floats,
    maxValueBytes: config.lovage.max_decompressed_bytes,
    maxValueDepth: config.lovage.max_message_depth,
  };
  if (isMemory(redis.url)) return createMemoryMognetStore({ ...settings, hub: `mognet ${app} ${redis.url}` });
  const stateUrl = config.state_backend.redis.url;
  if (isMemory(stateUrl))
    throw new ImproperlyConfigured("state_backend.redis.url is memory:// and the results are not");
  return createRedisMognetStore({
    ...settings,
    app,
    urls: redis.url,
    stateUrls: stateUrl,
    log,
    graceMs: patienceS(redis) * 1000,
  });
}
