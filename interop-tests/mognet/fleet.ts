/**
 * Two workers and two clients of one Mognet app, in a virtual host of their own: all Python, all TypeScript, or one of each. Both
 * workers serve the queue `tasks`; `left` is the first one's and `right` the second one's alone, and `idle` is nobody's.
 */
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import {
  assertDrained,
  HarnessError,
  type PeerProcess,
  rabbitmqApi,
  startNodeWorker,
  startPythonMognetWorker,
  tempVhost,
  testService,
} from "../../src/testing/index.ts";
import { Cleanup } from "./cleanup.ts";
import type { GridClient } from "./client.ts";
import { openPythonClient } from "./python-client.ts";
import { openTypescriptClient } from "./typescript-client.ts";

export const fleetNames = ["python", "typescript", "mixed", "mixed the other way"] as const;
export type FleetName = (typeof fleetNames)[number];
export type Language = "python" | "typescript";

/** The languages of the first and of the second worker. */
export const languages: Readonly<Record<FleetName, readonly [Language, Language]>> = {
  python: ["python", "python"],
  typescript: ["typescript", "typescript"],
  mixed: ["python", "typescript"],
  "mixed the other way": ["typescript", "python"],
};

export const workerModule = fileURLToPath(new URL("./fixtures/worker.mjs", import.meta.url));

/** A service of the run; a grid without it is an error, not a skip. */
export function service(variable: string): string {
  const value = testService(variable);
  if (value === undefined)
    throw new HarnessError("NO_SERVICE", `${variable} is not set; run: npm test -- --ring interop`);
  return value;
}

/** Where an app lives, and what its processes have in common. */
export interface Site extends AsyncDisposable {
  /** Name of the app, in front of its queues and keys. */
  readonly name: string;
  readonly broker: string;
  readonly redisUrl: string;
  readonly redis: Redis;
  /** Where tasks leave notes, and look for gates. */
  readonly notesUrl: string;
  readonly notes: Redis;
  /** By Mognet's keys. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Resolves when these queues (without the app's name) are empty and nothing of theirs is held. */
  drained(queues: readonly string[], timeout?: number): Promise<void>;
}

interface SiteParts {
  readonly broker: string;
  readonly vhost: string;
  readonly api: string;
  readonly redisUrl: string;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A place in the servers of the run, in a virtual host of its own. */
export async function openSite(config: Readonly<Record<string, unknown>> = {}): Promise<Site> {
  const api = service("LOVAGE_TEST_RABBITMQ_API");
  const vhost = await tempVhost(api, service("LOVAGE_TEST_AMQP_URL"));
  const redisUrl = service("LOVAGE_TEST_REDIS_URL");
  const site = makeSite({ broker: vhost.url, vhost: vhost.name, api, redisUrl, config });
  return {
    ...site,
    async [Symbol.asyncDispose]() {
      await site[Symbol.asyncDispose]();
      await vhost[Symbol.asyncDispose]();
    },
  };
}

/** A place in servers of the test's own. Notes are kept in the Redis of the run, whatever happens to this one. */
export function makeSite({ broker, vhost, api, redisUrl, config = {} }: SiteParts): Site {
  const name = `grid${randomBytes(4).toString("hex")}`;
  const notesUrl = service("LOVAGE_TEST_REDIS_URL");
  const [redis, notes] = [new Redis(redisUrl), new Redis(notesUrl)];
  // A server that is away shows as the rejected command that needed it.
  for (const connection of [redis, notes]) connection.on("error", () => undefined);
  const target = { api: rabbitmqApi(api), vhost };
  return {
    name,
    broker,
    redisUrl,
    redis,
    notesUrl,
    notes,
    config,
    async drained(queues, timeout = 30_000) {
      const names = queues.map((queue) => `${name}.${queue}`);
      await assertDrained(target, names, { timeout });
    },
    async [Symbol.asyncDispose]() {
      for await (const keys of notes.scanStream({ match: `${name}.*`, count: 1000 })) {
        if ((keys as string[]).length > 0) await notes.unlink(...(keys as string[]));
      }
      redis.disconnect();
      notes.disconnect();
    },
  };
}

export interface WorkerChoice {
  /** Instead of the place's own: behind a proxy. */
  readonly broker?: string;
  readonly node?: string;
  readonly queues?: readonly string[];
  readonly concurrency?: number;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Of a TypeScript worker. @default LOVAGE_TEST_MOGNET_POOL, else the event loop */
  readonly pool?: string;
}

/** A worker of that language, ready. */
export function startWorker(site: Site, language: Language, choice: WorkerChoice = {}): Promise<PeerProcess> {
  const node = choice.node ?? `${language}-${randomBytes(3).toString("hex")}`;
  const config = { ...site.config, ...choice.config };
  const { queues, concurrency = 4, broker = site.broker } = choice;
  if (language === "python") {
    return startPythonMognetWorker({
      python: service("LOVAGE_TEST_PYTHON_MOGNET"),
      broker,
      redis: site.redisUrl,
      name: site.name,
      node,
      config,
      concurrency,
      keepPaused: true,
      keepConnections: true,
      ...(queues === undefined ? {} : { includeQueues: queues }),
      env: { FIXTURE_RECORD: site.notesUrl },
    });
  }
  return startNodeWorker({
    script: workerModule,
    env: {
      FIXTURE_APP: site.name,
      FIXTURE_RECORD: site.notesUrl,
      FIXTURE_QUEUES: queues?.join(","),
      FIXTURE_POOL: choice.pool ?? process.env.LOVAGE_TEST_MOGNET_POOL,
      FIXTURE_CONFIG: JSON.stringify({
        ...fullConfig({ ...site, broker }),
        ...config,
        node_id: node,
        minimum_concurrency: concurrency,
      }),
    },
  });
}

/** Mognet's AppConfig for this place. */
export function fullConfig(site: Site): Record<string, unknown> {
  const redis = { redis: { url: site.redisUrl } };
  // Python reads past what stands under `lovage`.
  const lovage = { shutdown_grace: 0.5 };
  return {
    broker: { amqp: { url: site.broker } },
    result_backend: redis,
    state_backend: redis,
    lovage,
    ...site.config,
  };
}

export class Fleet implements AsyncDisposable {
  readonly name: FleetName;
  readonly site: Site;
  readonly workers: readonly PeerProcess[];
  readonly clients: Readonly<Record<Language, GridClient>>;
  readonly #cleanup: Cleanup;

  static async open(name: FleetName): Promise<Fleet> {
    const cleanup = new Cleanup();
    try {
      const site = cleanup.use(await openSite({ task_routes: routes }));
      const started = await Promise.allSettled([
        ...languages[name].map((language, index) =>
          startWorker(site, language, {
            node: `${site.name}-${index}`,
            queues: ["tasks", index === 0 ? "left" : "right"],
            concurrency: 200,
          }),
        ),
        openPythonClient(site),
        openTypescriptClient(site),
      ]);
      const up = started.map((one) => (one.status === "fulfilled" ? cleanup.use<AsyncDisposable>(one.value) : null));
      for (const one of started) if (one.status === "rejected") throw one.reason;
      const [first, second, python, typescript] = up as [PeerProcess, PeerProcess, GridClient, GridClient];
      return new Fleet(name, site, [first, second], { python, typescript }, cleanup);
    } catch (error) {
      await cleanup[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(
    name: FleetName,
    site: Site,
    workers: readonly PeerProcess[],
    clients: Readonly<Record<Language, GridClient>>,
    cleanup: Cleanup,
  ) {
    this.name = name;
    this.site = site;
    this.workers = workers;
    this.clients = clients;
    this.#cleanup = cleanup;
  }

  assertAlive(): void {
    for (const worker of this.workers) worker.assertAlive();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup[Symbol.asyncDispose]();
  }
}

/** Nobody sends these tasks: they make the queues. */
const routes = { "fixture.left": "left", "fixture.right": "right", "fixture.idle": "idle" };
