/** What the command line says when it is used wrongly, and its help. Processes are in interop-tests/cli. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { COMMANDS, runCommandLine } from "./commands.ts";

let stdout = "";
let stderr = "";
beforeEach(() => {
  stdout = "";
  stderr = "";
  vi.stubEnv("LOVAGE_LOG_LEVEL", "info");
  vi.stubEnv("LOVAGE_LOG_FORMAT", "");
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test.each([
  [["worker"], "which app? Name its module with -A"],
  [["wroker"], 'no such command: wroker; did you mean "worker"?'],
  [["--frobnicate", "worker"], "--frobnicate does not stand before a command"],
  [["amqp://u:hunter2@h"], "no such command: amqp://u:**@h"],
  [["worker", "--quues", "a"], 'no such option: --quues; did you mean "--queues"?'],
  [["worker", "-Z"], "no such option: -Z"],
  [["worker", "-A"], "-A needs a value; one that begins with a dash is written --app=MODULE"],
  [["inspect", "ping", "-d"], "-d needs a value; one that begins with a dash is written --destination=NODES"],
  [["inspect", "ping", "-d", "-t", "3"], "-d needs a value"],
  [["status", "-t", "-1"], "--timeout is a number of seconds, above 0"],
  [["worker", "-A", "app", "-c", "-1"], "--concurrency is a whole number, or auto"],
  [["worker", "-A", "app", "--autoscale", "-1,3"], "--autoscale is MAX,MIN in whole numbers"],
  [["multi", "start"], "which nodes? Their names, or a number"],
  [["multi", "start", "0"], "0 is no number of nodes"],
  [["worker", "-A", "app", "spare"], "unexpected spare"],
  [["worker", "-A", "app", "--concurrency", "many"], "--concurrency is a number, not many"],
  [["worker", "-A", "app", "-c", "1.5"], "--concurrency is a whole number, or auto"],
  [["worker", "-A", "app", "-c-1"], "--concurrency is a whole number, or auto"],
  [["worker", "-A", "app", "--time-limit", ""], "--time-limit is a number"],
  [["worker", "-A", "app", "-l", "loud"], "--loglevel is one of"],
  [["worker", "-A", "app", "--autoscale=many"], "--autoscale is MAX,MIN in whole numbers"],
  [["worker", "-A", "app", "--autoscale=0,0"], "--autoscale is MAX,MIN in whole numbers"],
  [["worker", "-A", "app", "-B"], "keep one `celery beat`"],
  [["worker", "-A", "app", "-O", "fair"], "-O is Celery's; here"],
  [["inspect", "pingg"], 'Command pingg not recognized; did you mean "ping"?'],
  [["inspect"], "which inspect command? There are: active, active_queues"],
  [["control", "ping"], "Command ping not recognized. Available control commands: add_consumer"],
  [["control", "time_limit", "a", "soon"], "time_limit: soft is a number, not soon"],
  [["control", "pool_grow", "1", "2"], "pool_grow takes arguments: [N=1]"],
  [["inspect", "ping", "-t", "0"], "--timeout is a number of seconds, above 0"],
  [["purge", "-f", "mail"], "unexpected mail; queues are named with -Q"],
  [["inspect", "ping", "--timeout", "-1"], "--timeout is a number of seconds, above 0"],
  [
    ["mognet", "--name", "x", "nodes", "list", "--timeout", "-1"],
    "--timeout is a number of seconds, at least 0, not -1",
  ],
  [["mognet", "--name", "x", "nodes", "status", "--format", "xml"], "--format is text or json, not xml"],
  [["status", "all"], "unexpected all"],
  [["events", "--limit", "0"], "--limit is a number of events"],
  [["graph", "bootsteps"], "graph what: workers"],
  [["logtool", "all"], "logtool what: stats, errors"],
  [["logtool", "stats", "/no/such/file"], "/no/such/file: ENOENT"],
  [["multi", "dance"], "multi what: start, stop"],
  [["multi", "show", "2", "--concurency", "3"], 'did you mean "--concurrency"?'],
  [["multi", "show", "2", "--beat"], "keep one `celery beat`"],
  [["shell", "-B"], "-B is Celery's; here there is Node's prompt alone"],
  [["events", "--camera", "x"], "--camera is Celery's; here snapshots are taken by a program"],
  [["list", "bindings"], "bindings is Celery's"],
  [["migrate", "a", "b"], "migrate is Celery's; here nothing moves messages"],
  [["upgrade", "settings"], "upgrade is Celery's"],
  [["amqp"], "amqp is Celery's"],
  [["flower"], "start Python's"],
  [["multi", "show", "2", "--frobnicate"], "no such option of a worker: --frobnicate"],
  [["multi", "show", "2", "-c:7", "4"], "-c:7: there is no node 7; there are: celery1, celery2"],
  [["multi", "show", "2", "-c:1-3", "4"], "-c:1-3: there is no node 1-3"],
  [["multi", "show", "a", "b", "-Q:a,z", "q"], "-Q:a,z: there is no node z; there are: a, b"],
  [["multi", "start", "2", "--pidfile:x=y"], "--pidfile:x: there is no node x"],
  [["beat"], "keep one `celery beat`"],
  [["call"], "which task?"],
  [["call", "a", "b"], "unexpected b"],
  [["call", "x", "-a", "{}"], "--args is a JSON array"],
  [["call", "x", "-a", "[1,"], "--args is a JSON array: invalid JSON"],
  [["call", "x", "-k", "[]"], "--kwargs is a JSON object"],
  [["call", "x", "--eta", "soon"], "--eta is a time in ISO 8601"],
  [["call", "x", "--expires", "never"], "--expires is a time in ISO 8601"],
  [["call", "x", "--countdown", "a while"], "--countdown is a number, not a while"],
  [["result"], "the result of which task id?"],
  [["list"], "list what: queues or tasks?"],
  [["list", "tasks"], "which app? Name its module with -A"],
  [["doctor", "--workdir", "/no/such/folder"], "--workdir /no/such/folder"],
])("%j ends with 2 and says why", async (args, words) => {
  expect(await runCommandLine(args)).toBe(2);
  expect(stderr).toContain(words);
  expect(stderr).toMatch(/\nTry: lovage (\w+ )?--help\n$/);
  expect(stdout).toBe("");
});

test("no command at all shows the overview on standard error and ends with 2", async () => {
  expect(await runCommandLine([])).toBe(2);
  expect(stderr).toMatch(/^Usage: lovage /);
});

test.each([["--help"], ["-h"], ["help"]])("%s lists every command with what it does", async (flag) => {
  expect(await runCommandLine([flag])).toBe(0);
  for (const { name, summary } of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}$`, "m"));
});

test.each(COMMANDS.map(({ name }) => name))("%s --help teaches: usage, every flag, examples", async (name) => {
  expect(await runCommandLine([name, "--help"])).toBe(0);
  const { flags } = COMMANDS.find((command) => command.name === name)!;
  expect(stdout).toMatch(new RegExp(`^Usage: lovage ${name} `));
  for (const [flag, { help }] of Object.entries(flags)) {
    if (help !== null) expect(stdout).toContain(`--${flag}`);
  }
  expect(stdout).toContain(`Examples:\n  lovage ${name} `);
  expect(stdout.split("\n").every((line) => line.length <= 130)).toBe(true);
  stdout = "";
  await runCommandLine(["help", name]);
  expect(stdout).toMatch(new RegExp(`^Usage: lovage ${name} `));
});

test("--version names the version", async () => {
  expect(await runCommandLine(["--version"])).toBe(0);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

// wire: `celery worker --help` of 5.7.0, flags that mean something where tasks run on one event loop.
test("the worker takes Celery's flags under Celery's names", () => {
  const { flags } = COMMANDS.find(({ name }) => name === "worker")!;
  const shorts = Object.entries(flags).flatMap(([name, { short }]) => (short ? [`-${short} --${name}`] : []));
  expect(shorts).toEqual(
    expect.arrayContaining([
      "-A --app",
      "-b --broker",
      "-Q --queues",
      "-X --exclude-queues",
      "-c --concurrency",
      "-n --hostname",
      "-P --pool",
      "-l --loglevel",
      "-C --no-color",
      "-q --quiet",
    ]),
  );
  expect(Object.keys(flags)).toEqual(
    expect.arrayContaining(["time-limit", "soft-time-limit", "prefetch-multiplier", "purge", "discard", "workdir"]),
  );
});

test("inspect --list --json is one JSON document of the commands and their arguments", async () => {
  expect(await runCommandLine(["inspect", "--list", "--json"])).toBe(0);
  const listed = JSON.parse(stdout) as { name: string }[];
  expect(listed.find(({ name }) => name === "query_task")).toMatchObject({ variadic: "ids", help: expect.any(String) });
  expect(listed.find(({ name }) => name === "active")).toMatchObject({ alias: "dump_active" });
});

// wire: `celery multi` and `celery multi help` end with 0.
test.each([[["multi"]], [["multi", "help"]]])("%j says how it is used", async (words) => {
  const code = await runCommandLine(words);
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^Usage: lovage multi ACT NODES/),
    stderr: "",
  });
});

test("multi passes on to its workers what stands before it", async () => {
  expect(await runCommandLine(["-A", "./app.js", "multi", "show", "a", "--nosplash"])).toBe(0);
  expect(stdout).toMatch(/^lovage worker -n a@\S+ -A \.\/app\.js\n$/);
});

test("logtool says which flags of every command it does not look at", async () => {
  expect(await runCommandLine(["-A", "nowhere", "logtool", "stats", "/dev/null", "-b", "x://"])).toBe(0);
  expect(stderr).toBe(
    "lovage: logtool reads logs alone; --app is not looked at\nlovage: logtool reads logs alone; --broker is not looked at\n",
  );
  expect(stdout).toContain("lines: 0");
});

// wire: `celery multi expand` of 5.7.0 gives these lines.
test("multi expand replaces what Celery's replaces", async () => {
  const words = ["n=%n N=%N h=%h d=%d p=%p i=%i I=%I %%", "a", "b@x.example.org", "--hostname=h.example.com"];
  expect(await runCommandLine(["multi", "expand", ...words])).toBe(0);
  expect(stdout).toBe(
    "n=a N=a h=a@h.example.com d=h.example.com p=a@h.example.com i=%i I=%I %\n" +
      "n=b N=b h=b@x.example.org d=x.example.org p=b@x.example.org i=%i I=%I %\n",
  );
});

// wire: `celery multi names` of 5.7.0 gives these names.
test.each([
  [["2", "-n", "foo"], "celery1@foo\ncelery2@foo\n"],
  [["2", "--suffix=xx", "--hostname=h"], "celery1@xx\ncelery2@xx\n"],
  [["a", "b@c", "--prefix=p-", "--hostname=h"], "p-a@h\nb@c\n"],
  [["1", "--range-prefix=w", "--prefix=p-", "-n", "h"], "w1@h\n"],
])("multi names its nodes as Celery does: %j", async (words, names) => {
  expect(await runCommandLine(["multi", "names", ...words])).toBe(0);
  expect(stdout).toBe(names);
  stdout = "";
  expect(await runCommandLine(["multi", "show", ...words])).toBe(0);
  expect(stdout).toBe(names.replaceAll(/^/gm, "lovage worker -n ").replace(/lovage worker -n $/, ""));
});

test.each(["-9", "-QUIT", "-SIGINT"])("multi stop takes the signal %s, and start does not", async (sig) => {
  const at = ["--pidfile=/nowhere/%n.pid", "--hostname=h"];
  expect(await runCommandLine(["multi", "stop_verify", "1", sig, ...at])).toBe(0);
  expect(stdout).toContain("celery1@h: not running");
  expect(await runCommandLine(["multi", "start", "1", sig, ...at])).toBe(2);
});

test("multi's options for some nodes reach those, by number, range and name", async () => {
  expect(await runCommandLine(["multi", "show", "3", "-c:1-2", "10", "-Q:celery3", "q", "--hostname=h"])).toBe(0);
  expect(stdout).toBe(
    "lovage worker -n celery1@h -c 10\nlovage worker -n celery2@h -c 10\nlovage worker -n celery3@h -Q q\n",
  );
});
