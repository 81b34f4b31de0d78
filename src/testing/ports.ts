/** Loopback ports that nobody listens on. */
import { createServer } from "node:net";
import { HarnessError } from "./errors.ts";

export const loopback = "127.0.0.1";

/** A free TCP port of the loopback interface. Another program may take it first, so start what uses it at once. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

/** Several free ports, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  try {
    return await Promise.all(
      servers.map(
        (server) =>
          new Promise<number>((resolve, reject) => {
            server.once("error", reject);
            server.listen(0, loopback, () => {
              const address = server.address();
              if (address === null || typeof address === "string") {
                reject(new HarnessError("NO_PORT", "the system gave no port"));
              } else resolve(address.port);
            });
          }),
      ),
    );
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}
