/** Flags and commands of Celery's that Lovage does not have: whoever brings a Celery command line along is told so. */

const NO_FORK = "children of a pool are started afresh (there is no fork), and take a task only when they are idle";
const SUPERVISOR = "leave that to what supervises the process (systemd, a container, pm2)";
const NO_BEAT = "there is no scheduler in this version: keep one `celery beat`, its tasks reach this worker";

/** By flag: why there is no such thing. */
const FLAGS: ReadonlyMap<string, string> = new Map([
  ["--loader", "Python loaders have no counterpart; name the app's module with -A"],
  ["--skip-checks", "it is Django's"],
  ["-B", NO_BEAT],
  ["--beat", NO_BEAT],
  ["-s", NO_BEAT],
  ["--schedule", NO_BEAT],
  ["--schedule-filename", NO_BEAT],
  ["--scheduler", NO_BEAT],
  ["-D", SUPERVISOR],
  ["--detach", SUPERVISOR],
  ["--pidfile", SUPERVISOR],
  ["--uid", SUPERVISOR],
  ["--gid", SUPERVISOR],
  ["--umask", SUPERVISOR],
  ["--executable", SUPERVISOR],
  ["-f", "the log goes to standard error: redirect it, as in 2>> worker.log"],
  ["--logfile", "the log goes to standard error: redirect it, as in 2>> worker.log"],
  ["-I", "import the modules of tasks in the app's module"],
  ["--include", "import the modules of tasks in the app's module"],
  ["--pool-start-method", NO_FORK],
  ["-O", NO_FORK],
  ["--optimization", NO_FORK],
  ["--disable-prefetch", "use --prefetch-multiplier 1"],
]);

const OTHER_PROMPTS = "there is Node's prompt alone";
const CAMERA = "snapshots are taken by a program: new Camera(…) of the package lovage";

/** Flags that mean something else, or nothing, with these commands. */
const FLAGS_OF: Readonly<Record<string, ReadonlyMap<string, string>>> = {
  shell: new Map([
    ...["-I", "--ipython", "-B", "--bpython", "--python"].map((flag) => [flag, OTHER_PROMPTS] as const),
    ...["--eventlet", "--gevent"].map((flag) => [flag, "everything is asynchronous"] as const),
  ]),
  events: new Map(
    ["-c", "--camera", "-F", "--frequency", "--freq", "-r", "--maxrate"].map((flag) => [flag, CAMERA] as const),
  ),
};

const COMMANDS: ReadonlyMap<string, string> = new Map([
  ["beat", NO_BEAT],
  ["flower", "there is none: start Python's, which shows these workers too: celery -b URL flower"],
  ["amqp", "rabbitmqadmin or the management page do that; `lovage list queues` and `lovage purge` look after queues"],
  [
    "migrate",
    "nothing moves messages between brokers: `celery migrate SOURCE DESTINATION` moves those of this fleet too",
  ],
  ["upgrade", "there are no old settings to rename: a wrong name is an error that says the right one"],
]);

/** A sentence about Celery's flag of that name, or undefined when Celery has none either. */
export function celeryOnlyFlag(flag: string, command: string): string | undefined {
  const why = FLAGS_OF[command]?.get(flag) ?? FLAGS.get(flag);
  return why === undefined ? undefined : `${flag} is Celery's; here ${why}`;
}

export function celeryOnlyCommand(name: string): string | undefined {
  const why = COMMANDS.get(name);
  return why === undefined ? undefined : `${name} is Celery's; here ${why}`;
}
