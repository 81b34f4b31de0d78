/** A private Redis on a free loopback port, for one test file or one run. */
import { findRedisServer } from "./find-program.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { PeerProcess } from "./peer-process.ts";
import { freePort, loopback } from "./ports.ts";
import { tempFolder } from "./temp-folder.ts";

/** For `startRedis()`. */
export interface RedisServerOptions {
  /** Keep the data over `restart` (append-only file in the temporary folder). @default false */
  persist?: boolean;
  /** More lines of redis.conf, as arguments: `["--maxmemory", "10mb"]`. */
  args?: readonly string[];
}

const redisServerOptions: NamesOf<RedisServerOptions> = {
  persist: true,
  args: true,
};

/** A running Redis. Disposal stops it and removes its data. */
export interface RedisServer extends AsyncDisposable {
  /** `redis://127.0.0.1:<port>/0` */
  readonly url: string;
  readonly port: number;
  /** The running server; a new one after `restart`. */
  readonly process: PeerProcess;
  /** The URL of another database (0 to 63) of this server. */
  database(number: number): string;
  /** Ends the server without starting it again. `SIGKILL` is a crash. @default SIGTERM */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port; empty unless `persist`. */
  start(): Promise<void>;
}

/** Starts Redis. Resolves when it answers; rejects with `ProgramNotFound` when it is not installed. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  knownOptions(options, redisServerOptions, "startRedis()");
  const program = findRedisServer();
  const folder = await tempFolder("redis");
  const port = await freePort();
  const store = options.persist ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const run = async () => {
    const server = await PeerProcess.start(program, {
      name: "redis-server",
      args: [
        ...["--bind", loopback, "--port", String(port), "--dir", folder.path, "--save", "", "--databases", "64"],
        ...["--daemonize", "no", "--protected-mode", "yes", ...store, ...(options.args ?? [])],
      ],
      cwd: folder.path,
      folders: [folder.path],
    });
    try {
      await server.waitForLog(/ready to accept connections/i);
    } catch (error) {
      await server.stop({ grace: 1_000 });
      throw error;
    }
    return server;
  };
  let server: PeerProcess;
  try {
    server = await run();
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
  return {
    port,
    url: `redis://${loopback}:${port}/0`,
    database: (number) => `redis://${loopback}:${port}/${number}`,
    get process() {
      return server;
    },
    async stop(signal = "SIGTERM") {
      await server.stop({ signal, grace: 5_000 });
    },
    async start() {
      if (!server.alive) server = await run();
    },
    async [Symbol.asyncDispose]() {
      await server.stop({ grace: 3_000 });
      await folder[Symbol.asyncDispose]();
    },
  };
}
