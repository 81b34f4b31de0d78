import { expect, test } from "vitest";
import { ConnectionLost, TransportError } from "../errors.ts";
import { evictionWarnings, readServerInfo } from "./server-info.ts";

const server = (answers: Record<string, unknown>) => async (name: string, args: string[]) => {
  const answer = answers[[name, ...args].join(" ")];
  if (answer instanceof Error) throw answer;
  return answer;
};

test("reads name, version, clock and what endangers messages", async () => {
  const info = await readServerInfo(
    server({
      "INFO server": "# Server\r\nredis_version:7.2.4\r\nos:Linux\r\n",
      "INFO memory": "maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n",
      TIME: ["1700000000", "250000"],
    }),
  );
  expect(info).toEqual({
    product: "Redis",
    version: "7.2.4",
    timeMs: 1_700_000_000_250,
    warnings: [expect.stringContaining("deletes queues and results")],
  });
});

test("knows Valkey by its own version", async () => {
  const answers = { "INFO server": "redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n", "INFO memory": "", TIME: null };
  expect(await readServerInfo(server(answers))).toEqual({
    product: "Valkey",
    version: "8.0.1",
    timeMs: null,
    warnings: [],
  });
});

test("leaves out what it may not ask, and tells when the connection has gone", async () => {
  const refused = new TransportError("REDIS", "NOPERM this user has no permissions");
  const answers = { "INFO server": refused, "INFO memory": refused, TIME: refused };
  expect(await readServerInfo(server(answers))).toMatchObject({ version: "of unknown version", timeMs: null });
  const lost = server({ "INFO server": new ConnectionLost("gone") });
  await expect(readServerInfo(lost)).rejects.toThrow("gone");
});

test("warns of eviction only where there is a limit to memory", () => {
  expect(evictionWarnings("allkeys-lru", 0)).toEqual([]);
  expect(evictionWarnings("noeviction", 1)).toEqual([]);
  expect(evictionWarnings("volatile-ttl", 1)[0]).toContain("deletes results;");
});
