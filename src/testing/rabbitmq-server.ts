/**
 * A private RabbitMQ on free loopback ports: own node name, own port mapper, own data, log, plugins and configuration, so that
 * it neither sees nor disturbs one that the machine already runs, and works in a container without an init or a resolvable
 * host name.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { PeerFailed } from "./errors.ts";
import { findEpmd, findRabbitmqctl, findRabbitmqServer } from "./find-program.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { PeerProcess } from "./peer-process.ts";
import { freePorts, loopback } from "./ports.ts";
import { type RabbitmqApi, rabbitmqApi } from "./rabbitmq-api.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { waitFor } from "./wait.ts";

/** A running RabbitMQ. Disposal stops it and removes its data. */
export interface RabbitmqServer extends AsyncDisposable {
  /** `amqp://guest:guest@127.0.0.1:<port>//` */
  readonly url: string;
  readonly port: number;
  /** The management API, with credentials: `http://guest:guest@127.0.0.1:<port>` */
  readonly apiUrl: string;
  readonly api: RabbitmqApi;
  /** The running server; a new one after `start`. */
  readonly process: PeerProcess;
  /** Ends the server without starting it again. `SIGKILL` is a crash. @default SIGTERM */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same ports with what was durable. */
  start(): Promise<void>;
  /** Runs `rabbitmqctl` on this server and resolves with what it prints: `ctl("stop_app")`. `PeerFailed` when it fails. */
  ctl(...args: readonly string[]): Promise<string>;
}

/** For `startRabbitmq()`. */
export interface RabbitmqServerOptions {
  /** Milliseconds until it must be up. @default 120_000 */
  timeout?: number;
  /** More lines of rabbitmq.conf. */
  config?: readonly string[];
}

const rabbitmqServerOptions: NamesOf<RabbitmqServerOptions> = {
  timeout: true,
  config: true,
};

interface Ports {
  amqp: number;
  management: number;
  epmd: number;
  distribution: number;
}

/** Starts RabbitMQ with the management plugin. Resolves when both answer; `ProgramNotFound` when it is not installed. */
export async function startRabbitmq(options: RabbitmqServerOptions = {}): Promise<RabbitmqServer> {
  knownOptions(options, rabbitmqServerOptions, "startRabbitmq()");
  const { timeout = 120_000 } = options;
  const program = findRabbitmqServer();
  const epmdProgram = findEpmd();
  const folder = await tempFolder("rabbitmq");
  const [amqp, management, epmd, distribution] = (await freePorts(4)) as [number, number, number, number];
  const ports: Ports = { amqp, management, epmd, distribution };
  const apiUrl = `http://guest:guest@${loopback}:${management}`;
  const api = rabbitmqApi(apiUrl);
  await writeConfiguration(folder, ports, options.config ?? []);

  const mapper = await PeerProcess.start(epmdProgram, {
    name: "epmd",
    args: ["-port", String(epmd), "-address", loopback],
  });
  const run = async () => {
    const server = await PeerProcess.start(program, {
      name: "rabbitmq-server",
      cwd: folder.path,
      env: environment(folder, ports),
      folders: [folder.path],
    });
    try {
      await server.waitForLog(/Server startup complete|completed with \d+ plugins/, { timeout });
      await waitFor(() => api.alive(), { timeout, interval: 50, describe: "RabbitMQ's management API" });
    } catch (error) {
      await server.stop({ grace: 2_000 });
      throw error;
    }
    return server;
  };
  let server: PeerProcess;
  try {
    await waitFor(() => accepts(epmd), { describe: "epmd to listen" });
    server = await run();
  } catch (error) {
    await mapper.stop();
    await folder[Symbol.asyncDispose]();
    throw error;
  }
  return {
    port: amqp,
    url: `amqp://guest:guest@${loopback}:${amqp}//`,
    apiUrl,
    api,
    get process() {
      return server;
    },
    async stop(signal = "SIGTERM") {
      await server.stop({ signal, grace: 15_000 });
    },
    async start() {
      if (!server.alive) server = await run();
    },
    async ctl(...args) {
      const control = await PeerProcess.start(findRabbitmqctl(), {
        name: "rabbitmqctl",
        args: ["--quiet", ...args],
        cwd: folder.path,
        env: environment(folder, ports),
      });
      const { code } = await control.ended;
      if (code !== 0) throw new PeerFailed(`rabbitmqctl ${args.join(" ")} failed:\n${control.log()}`);
      return control.log();
    },
    async [Symbol.asyncDispose]() {
      // Its data goes with the folder: nothing is gained by an orderly end that takes longer than this.
      await server.stop({ grace: 1_000 });
      await mapper.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function writeConfiguration(folder: TempFolder, ports: Ports, more: readonly string[]): Promise<void> {
  await Promise.all(["mnesia", "log", "plugins"].map((name) => mkdir(folder.join(name))));
  await writeFile(
    folder.join("rabbitmq.conf"),
    [
      `listeners.tcp.1 = ${loopback}:${ports.amqp}`,
      `management.tcp.ip = ${loopback}`,
      `management.tcp.port = ${ports.management}`,
      // Queue counters in the API are this old at most; the default of 5 s would make every look at a queue a long wait.
      "collect_statistics_interval = 250",
      "disk_free_limit.absolute = 1MB",
      "log.console = true",
      "log.console.level = info",
      ...more,
      "",
    ].join("\n"),
  );
  await writeFile(folder.join("advanced.config"), "[].\n");
  await writeFile(folder.join("enabled_plugins"), "[rabbitmq_management].\n");
  await writeFile(folder.join("rabbitmq-env.conf"), "");
}

function environment(folder: TempFolder, ports: Ports): Record<string, string | undefined> {
  return {
    // Erlang keeps its cookie here.
    HOME: folder.path,
    ERL_EPMD_PORT: String(ports.epmd),
    ERL_EPMD_ADDRESS: loopback,
    // `localhost` resolves where the host's own name may not.
    RABBITMQ_NODENAME: `lovage${ports.amqp}@localhost`,
    RABBITMQ_USE_LONGNAME: undefined,
    RABBITMQ_NODE_PORT: String(ports.amqp),
    RABBITMQ_NODE_IP_ADDRESS: loopback,
    RABBITMQ_DIST_PORT: String(ports.distribution),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none`,
    RABBITMQ_CONF_ENV_FILE: folder.join("rabbitmq-env.conf"),
    RABBITMQ_CONFIG_FILE: folder.join("rabbitmq.conf"),
    RABBITMQ_CONFIG_FILES: undefined,
    RABBITMQ_ADVANCED_CONFIG_FILE: folder.join("advanced.config"),
    RABBITMQ_ENABLED_PLUGINS_FILE: folder.join("enabled_plugins"),
    RABBITMQ_PLUGINS_EXPAND_DIR: folder.join("plugins"),
    RABBITMQ_GENERATED_CONFIG_DIR: folder.join("generated"),
    RABBITMQ_MNESIA_BASE: folder.join("mnesia"),
    RABBITMQ_MNESIA_DIR: folder.join("mnesia", "node"),
    RABBITMQ_LOG_BASE: folder.join("log"),
    RABBITMQ_LOGS: "-",
    RABBITMQ_PID_FILE: folder.join("rabbitmq.pid"),
    // The start script then becomes the server instead of waiting for it as its parent.
    RUNNING_UNDER_SYSTEMD: "true",
    NOTIFY_SOCKET: undefined,
  };
}

/** Whether something accepts connections on that loopback port. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, loopback);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
