/** Loopback ports that nobody listens on. */
import { randomInt } from "node:crypto";
import { createServer, type Server } from "node:net";
import { HarnessError } from "./errors.ts";

export const loopback = "127.0.0.1";

/**
 * Below the ports that systems give to connections and to listeners that ask for none (Linux from 32768, others from 49152), of which
 * one may be taken between the choice of a port here and the start of what uses it.
 */
const lowest = 20_000;
const highest = 32_000;

/** A free TCP port of the loopback interface. Another program may take it first, so start what uses it at once. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

/** Several free ports, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const taken = new Map<number, Server>();
  try {
    for (let attempt = 0; taken.size < count; attempt++) {
      if (attempt > count + 1_000) throw new HarnessError("NO_PORT", "no port is free");
      const port = randomInt(lowest, highest);
      if (taken.has(port)) continue;
      const server = await listen(port);
      if (server !== null) taken.set(port, server);
    }
    return [...taken.keys()];
  } finally {
    await Promise.all([...taken.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** Resolves with `null` when somebody has the port. */
function listen(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null));
    server.listen(port, loopback, () => resolve(server));
  });
}
