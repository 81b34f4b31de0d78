/** Where a program is installed. Servers often live outside a user's PATH. */
import { accessSync, constants, readdirSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { ProgramNotFound } from "./errors.ts";

const serverFolders = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin", "/opt/homebrew/bin"];

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The full path of a program, or `undefined`. `first` are folders to look in before PATH. */
export function findProgram(name: string, first: readonly string[] = []): string | undefined {
  const folders = [...first, ...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...serverFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

export function findRedisServer(): string {
  const path = findProgram("redis-server");
  if (!path) throw new ProgramNotFound("redis-server", "install Redis (Debian: apt-get install redis-server)");
  return path;
}

export function findRabbitmqServer(): string {
  // Debian's /usr/sbin/rabbitmq-server is a wrapper that changes user and drops our environment; the program is behind it.
  const path = findProgram("rabbitmq-server", ["/usr/lib/rabbitmq/bin"]);
  if (!path) throw new ProgramNotFound("rabbitmq-server", "install RabbitMQ (Debian: apt-get install rabbitmq-server)");
  return path;
}

export function findRabbitmqctl(): string {
  // As with the server: the wrapper in /usr/sbin changes user.
  const path = findProgram("rabbitmqctl", ["/usr/lib/rabbitmq/bin"]);
  if (!path) throw new ProgramNotFound("rabbitmqctl", "install RabbitMQ (Debian: apt-get install rabbitmq-server)");
  return path;
}

/** Erlang's port mapper, which RabbitMQ cannot start without. */
export function findEpmd(): string {
  const erl = findProgram("erl");
  const path = findProgram("epmd", erl === undefined ? [] : erlangFolders(dirname(realpathSync(erl))));
  if (!path) throw new ProgramNotFound("epmd", "install Erlang (Debian: apt-get install erlang-base)");
  return path;
}

/** `<root>/bin/erl` has its runtime, with epmd, in `<root>/erts-<version>/bin`. */
function erlangFolders(bin: string): string[] {
  const root = dirname(bin);
  const runtimes = readdirSync(root).filter((name) => name.startsWith("erts-"));
  return [bin, ...runtimes.map((name) => join(root, name, "bin"))];
}
