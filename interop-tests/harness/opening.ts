/** What opening a place to run in takes, whatever runs there: services, addresses of broker and results, and the end of it all. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { HarnessError, type TempVhost, tempVhost, testService } from "../../src/testing/index.ts";

/** A service of the run; a grid without it is an error, not a skip. */
export function service(variable: string): string {
  const value = testService(variable);
  if (value === undefined)
    throw new HarnessError("NO_SERVICE", `${variable} is not set; run: npm test -- --ring interop`);
  return value;
}

/** The interpreter of a version of Celery. */
export const pythonOf = (version: string): string => service(`LOVAGE_TEST_PYTHON_${version.replaceAll(".", "_")}`);

/** Ends things at once, and after them what they stand on, the last first; all of them, whatever fails. */
export class Cleanup implements AsyncDisposable {
  readonly #used: AsyncDisposable[] = [];
  readonly #grounds: AsyncDisposable[] = [];

  /** A process, a client. */
  use<T extends AsyncDisposable>(thing: T): T {
    this.#used.push(thing);
    return thing;
  }

  /** A folder, a virtual host. */
  standOn<T extends AsyncDisposable>(thing: T): T {
    this.#grounds.push(thing);
    return thing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#used.splice(0).map((thing) => thing[Symbol.asyncDispose]()));
    for (const thing of this.#grounds.splice(0).reverse()) await Promise.allSettled([thing[Symbol.asyncDispose]()]);
  }

  /** What `make` opens ends with this, also when it fails half way. */
  static async around<T>(make: (cleanup: Cleanup) => Promise<T>): Promise<T> {
    const cleanup = new Cleanup();
    try {
      return await make(cleanup);
    } catch (error) {
      await cleanup[Symbol.asyncDispose]();
      throw error;
    }
  }
}

export type AnyStores = "amqp+redis" | "amqp+rpc" | "redis+redis" | "filesystem+file";

/** A virtual host where the broker has such. */
export async function vhostFor(stores: AnyStores, cleanup: Cleanup): Promise<TempVhost | null> {
  if (!stores.startsWith("amqp")) return null;
  return cleanup.standOn(await tempVhost(service("LOVAGE_TEST_RABBITMQ_API"), service("LOVAGE_TEST_AMQP_URL")));
}

/** Celery's settings for a broker and a result store of one's own: by virtual host, by prefix, or by folder. */
export async function addresses(
  stores: AnyStores,
  place: { folder: string; prefix: string; vhost: TempVhost | null; redisBroker?: object },
): Promise<Record<string, unknown>> {
  const { folder, prefix, vhost, redisBroker = {} } = place;
  const redis = service("LOVAGE_TEST_REDIS_URL");
  const redisResults = { result_backend: redis, result_backend_transport_options: { global_keyprefix: prefix } };
  switch (stores) {
    case "amqp+redis":
      return { broker_url: vhost?.url ?? "", ...redisResults };
    case "amqp+rpc":
      return { broker_url: vhost?.url ?? "", result_backend: "rpc://" };
    case "redis+redis":
      return {
        broker_url: redis,
        broker_transport_options: { global_keyprefix: prefix, ...redisBroker },
        ...redisResults,
      };
    case "filesystem+file": {
      const [messages, control, results] = ["messages", "control", "results"].map((part) => join(folder, part));
      for (const path of [messages, control, results]) await mkdir(path ?? "");
      return {
        broker_url: "filesystem://",
        broker_transport_options: {
          data_folder_in: messages,
          data_folder_out: messages,
          control_folder: control,
          polling_interval: 0.02,
        },
        result_backend: `file://${results}`,
      };
    }
  }
}
