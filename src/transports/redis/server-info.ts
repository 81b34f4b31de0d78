/** What a Redis (or Valkey) server says of itself, for people who look for what is wrong. */
import { TransportError } from "../errors.ts";
import type { ServerInfo } from "../transport.ts";

/** Asks the server; what it does not let us ask is left out. `call` sends one command. */
export async function readServerInfo(call: (name: string, args: string[]) => Promise<unknown>): Promise<ServerInfo> {
  const section = async (name: string): Promise<ReadonlyMap<string, string>> => {
    try {
      return fieldsOf(String(await call("INFO", [name])));
    } catch (error) {
      if (error instanceof TransportError && error.retryable) throw error;
      return new Map();
    }
  };
  const server = await section("server");
  const memory = await section("memory");
  const valkey = server.get("valkey_version");
  return {
    product: valkey === undefined ? "Redis" : "Valkey",
    version: valkey ?? server.get("redis_version") ?? "of unknown version",
    warnings: evictionWarnings(memory.get("maxmemory_policy") ?? "noeviction", Number(memory.get("maxmemory") ?? 0)),
    timeMs: timeOf(await call("TIME", []).catch(() => null)),
  };
}

function fieldsOf(text: string): ReadonlyMap<string, string> {
  const rows = text.split(/\r?\n/).flatMap((row): [string, string][] => {
    const colon = row.indexOf(":");
    return colon < 0 ? [] : [[row.slice(0, colon), row.slice(colon + 1)]];
  });
  return new Map(rows);
}

/** Without a limit nothing is ever evicted. Queues are keys without expiry, results are keys with one. */
export function evictionWarnings(policy: string, maxmemory: number): string[] {
  if (maxmemory === 0 || policy === "noeviction") return [];
  const what = policy.startsWith("allkeys") ? "queues and results" : "results";
  return [`maxmemory-policy is ${policy}: when memory is short, Redis deletes ${what}; Celery needs noeviction`];
}

function timeOf(reply: unknown): number | null {
  if (!Array.isArray(reply)) return null;
  const [seconds, micros] = reply.map((part: unknown) => Number(part));
  const timeMs = (seconds ?? Number.NaN) * 1000 + (micros ?? 0) / 1000;
  return Number.isFinite(timeMs) ? timeMs : null;
}
