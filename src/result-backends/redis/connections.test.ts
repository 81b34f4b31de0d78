/** What is known of a result store that is away, without a Redis. */
import { beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../runtime/log.ts";
import {
  type ConnectRedisOptions,
  connectRedis,
  loadRedis,
  parseRedisUrl,
  RedisConnectionError,
} from "../../runtime/redis-connection.ts";
import { Connections } from "./connections.ts";

/** What was asked of each connection, by its purpose: the test says what becomes of it. */
const made = new Map<string, ConnectRedisOptions>();
vi.mock(import("../../runtime/redis-connection.ts"), async (original) => {
  const real = await original();
  const lazily: typeof real.connectRedis = (target, options) => {
    made.set(options.purpose, options);
    return real.connectRedis(target, { ...options, lazy: true });
  };
  return { ...real, connectRedis: vi.fn(lazily) };
});

await loadRedis();
beforeEach(() => {
  made.clear();
  vi.mocked(connectRedis).mockClear();
});

function rig() {
  const told: string[] = [];
  const connections: Connections = new Connections({
    target: parseRedisUrl("redis://127.0.0.1:1/0"),
    log: silentLog,
    onMessage: () => {},
    isListening: () => true,
    onCommandsUp: () => {},
    onListenerUp: () => {},
    onCommandsLost: () => void told.push(connections.outage().message),
    onListenerLost: () => void told.push(connections.outage().message),
    onAway: () => {},
    onBack: () => {},
    onRefused: () => {},
  });
  connections.connectCommands();
  connections.connectListener();
  return { connections, told };
}

const error = (message: string) => new RedisConnectionError(message, false);

test("a connection that comes up leaves the reason of the other, which is still away", () => {
  const { connections } = rig();
  made.get("results-listener")?.onRetry?.(error("no listener"), 1);
  made.get("results")?.onConnected?.("redis");
  expect(connections.outage().message).toBe("no listener");
  made.get("results-listener")?.onConnected?.("redis");
  expect(connections.outage().message).toMatch(/no answer .* yet/);
  connections.end();
});

test("who is told of a loss finds its reason", () => {
  const { connections, told } = rig();
  made.get("results")?.onLost?.(error("commands gone"));
  made.get("results")?.onConnected?.("redis");
  made.get("results-listener")?.onLost?.(error("listener gone"));
  expect(told).toEqual(["commands gone", "listener gone"]);
  connections.end();
});
