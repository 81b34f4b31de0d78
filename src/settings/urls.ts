/** Which broker and which result store the URLs ask for. Only names are decided here; `app` builds the parts. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { didYouMean } from "./suggest.ts";
import type { Settings } from "./table.ts";

export type BrokerKind = "amqp" | "redis" | "filesystem" | "memory";
export type BackendKind = "redis" | "rpc" | "file" | "memory" | "disabled";

export interface PickedBroker {
  readonly kind: BrokerKind;
  readonly urls: readonly string[];
  /** `broker_transport_options`, and for the embedded default its folders. */
  readonly transportOptions: Readonly<Record<string, unknown>>;
  /** The embedded default was chosen because no broker URL is set. */
  readonly embedded: boolean;
  /** One sentence for the log, when embedded. */
  readonly notice: string | null;
}

export interface PickedBackend {
  readonly kind: BackendKind;
  readonly urls: readonly string[];
  readonly embedded: boolean;
}

/** The folders of the embedded default, in Kombu's words. */
export interface EmbeddedFolders {
  readonly root: string;
  /** `data_folder_in` and `data_folder_out`. */
  readonly broker: string;
  /** `control_folder`. */
  readonly control: string;
  readonly results: string;
  /** Settings as JSON with which Celery in Python uses the same folders. */
  readonly pythonSettings: string;
}

/** Seconds. Kombu looks for files once a second unless told otherwise (kombu/transport/virtual/base.py `polling_interval`). */
const PYTHON_POLLING_INTERVAL = 0.02;

export interface Surroundings {
  /** @default process.cwd() */
  cwd?: string;
  /** `NODE_ENV` is looked at. @default process.env */
  env?: NodeJS.ProcessEnv;
}

const BROKER_SCHEMES: Readonly<Record<string, BrokerKind>> = {
  amqp: "amqp",
  amqps: "amqp",
  pyamqp: "amqp",
  redis: "redis",
  rediss: "redis",
  "redis+socket": "redis",
  sentinel: "redis",
  filesystem: "filesystem",
  memory: "memory",
};
const BACKEND_SCHEMES: Readonly<Record<string, BackendKind>> = {
  redis: "redis",
  rediss: "redis",
  "redis+socket": "redis",
  sentinel: "redis",
  rpc: "rpc",
  file: "file",
  memory: "memory",
  "cache+memory": "memory",
  disabled: "disabled",
};

// wire: kombu/transport/__init__.py TRANSPORT_ALIASES; celery/app/backends.py BACKEND_ALIASES. Named so that they are not taken for typing errors.
const OTHER_BROKERS =
  "librabbitmq confluentkafka kafka sqs mongodb zookeeper sqlalchemy sqla slmq qpid consul etcd azurestoragequeues azureservicebus pyro gcpubsub pgmq";
const OTHER_BACKENDS =
  "cache mongodb db database elasticsearch cassandra couchbase couchdb cosmosdbsql riak consul dynamodb azureblockblob arangodb s3 gs django-db django-cache";

/**
 * The broker to read from (workers) or to write to (publishers, the default). Throws `ImproperlyConfigured` for a scheme
 * that is not available, for URLs of different kinds together, and for no URL at all when `NODE_ENV` is `production`.
 */
export function pickBroker(
  settings: Settings,
  { purpose = "write", ...around }: Surroundings & { purpose?: "read" | "write" } = {},
): PickedBroker {
  const own = purpose === "read" ? settings.broker_read_url : settings.broker_write_url;
  const urls = own ?? settings.broker_url;
  if (urls === null) return embeddedBroker(settings, around);
  const kinds = new Set(urls.map((url) => kindOf(url, BROKER_SCHEMES, OTHER_BROKERS, "broker")));
  const [kind, another] = kinds;
  if (kind === undefined || another !== undefined) {
    throw new ImproperlyConfigured(`broker URLs that fail over must be of one kind, not ${[...kinds].join(" and ")}`);
  }
  return {
    kind,
    urls: urls.map((url) => url.replace(/^pyamqp:/i, "amqp:")),
    transportOptions: settings.broker_transport_options,
    embedded: false,
    notice: null,
  };
}

/** The result store; `disabled` when none is set, except that the embedded broker brings its own. */
export function pickBackend(settings: Settings, around: Surroundings = {}): PickedBackend {
  const given = settings.result_backend;
  if (given === null) {
    if (settings.broker_url !== null || settings.broker_write_url !== null || settings.broker_read_url !== null) {
      return { kind: "disabled", urls: [], embedded: false };
    }
    const { results } = embeddedFolders(around.cwd);
    return { kind: "file", urls: [pathToFileURL(results).href], embedded: true };
  }
  const urls = given
    .split(";")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    // Celery takes the bare name of a backend too: `rpc`, `disabled`.
    .map((part) => (/^[a-z0-9+-]+$/i.test(part) ? `${part}://` : part));
  const kinds = new Set(urls.map((url) => kindOf(url, BACKEND_SCHEMES, OTHER_BACKENDS, "result backend")));
  const [kind, another] = kinds;
  if (kind === undefined || another !== undefined) {
    throw new ImproperlyConfigured("result_backend must be a URL, or several of one kind separated by `;`");
  }
  return { kind, urls: kind === "disabled" ? [] : urls, embedded: false };
}

/** The folders under `.lovage/`, as absolute paths. They are not made here. */
export function embeddedFolders(cwd: string = process.cwd()): EmbeddedFolders {
  const root = resolve(cwd, ".lovage");
  return {
    root,
    broker: join(root, "broker"),
    control: join(root, "control"),
    results: join(root, "results"),
    pythonSettings: join(root, "celeryconfig.json"),
  };
}

/**
 * Makes the folders of the embedded default, so that Python, which does not make all of them, finds them, and writes its
 * settings beside them.
 */
export function makeEmbeddedFolders(folders: EmbeddedFolders): void {
  for (const path of [folders.broker, folders.control, folders.results]) mkdirSync(path, { recursive: true });
  const text = `${JSON.stringify(pythonSettings(folders), null, 2)}\n`;
  if (existsSync(folders.pythonSettings) && readFileSync(folders.pythonSettings, "utf8") === text) return;
  // Renamed into place: Python may read it at this moment.
  const fresh = `${folders.pythonSettings}.${process.pid}`;
  writeFileSync(fresh, text);
  renameSync(fresh, folders.pythonSettings);
}

/** With absolute folders, since Python may run elsewhere; its file backend takes the path as it stands, not percent-encoded. */
function pythonSettings(folders: EmbeddedFolders): Record<string, unknown> {
  return {
    broker_url: "filesystem://",
    broker_transport_options: {
      data_folder_in: folders.broker,
      data_folder_out: folders.broker,
      control_folder: folders.control,
      polling_interval: PYTHON_POLLING_INTERVAL,
    },
    result_backend: `file://${folders.results}`,
  };
}

function embeddedBroker(settings: Settings, { cwd, env = process.env }: Surroundings): PickedBroker {
  if (env.NODE_ENV === "production") {
    throw new ImproperlyConfigured(
      "NODE_ENV is production and no broker_url is set; the embedded default is for development",
    );
  }
  const folders = embeddedFolders(cwd);
  return {
    kind: "filesystem",
    urls: ["filesystem://"],
    transportOptions: {
      data_folder_in: folders.broker,
      data_folder_out: folders.broker,
      control_folder: folders.control,
      ...settings.broker_transport_options,
    },
    embedded: true,
    notice: `no broker_url is set: messages and results are files under ${folders.root}`,
  };
}

function kindOf<K extends string>(url: string, schemes: Readonly<Record<string, K>>, others: string, what: string): K {
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined)
    throw new ImproperlyConfigured(`the ${what} must be a URL with a scheme, such as redis://host`);
  const kind = Object.hasOwn(schemes, scheme) ? schemes[scheme] : undefined;
  if (kind !== undefined) return kind;
  const supported = Object.keys(schemes).join(", ");
  const known = others.split(" ");
  if (known.includes(scheme) || known.includes(scheme.split("+", 1)[0]!)) {
    throw new ImproperlyConfigured(`${what} ${scheme}:// is not available in Lovage; supported: ${supported}`);
  }
  const hint = didYouMean(scheme, Object.keys(schemes));
  throw new ImproperlyConfigured(`unknown ${what} ${scheme}://${hint}; supported: ${supported}`);
}
