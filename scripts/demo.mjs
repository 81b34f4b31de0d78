/**
 * `npm run demo`: TypeScript and Python, one task queue, no server. Installs and builds what is missing, then starts a worker in
 * each language and lets a client of each language send to the other. Everything runs in a temporary folder and ends by itself.
 *
 *   npm run demo
 *   npm run demo -- --broker amqp://guest:guest@localhost:5672// --backend redis://localhost:6379/0
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { cache, main, root, run, Stop, say } from "./lib/run.mjs";
import { celeryEnvironments, findPython, pythonEnvironments } from "./python-env.mjs";
import { build, installPackages, tscPath } from "./setup.mjs";

const examples = join(root, "examples", "demo");
const compiled = join(cache, "demo");
const bold = (text) => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text);

function readFlags(args) {
  try {
    return parseArgs({ args, options: { broker: { type: "string" }, backend: { type: "string" } } }).values;
  } catch (error) {
    throw new Stop(`${error.message}\nusage: npm run demo [-- --broker URL --backend URL]`);
  }
}

/** The interpreter of a private environment with Celery, or `undefined` with a word on why not. */
async function findCelery() {
  if (!(await findPython())) {
    say("Python 3 was not found (python3, python; or set LOVAGE_PYTHON): running the TypeScript half alone.");
    return undefined;
  }
  const name = celeryEnvironments[0];
  try {
    return (await pythonEnvironments([name]))[name];
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    say(`${error.message}\nPython cannot be used: running the TypeScript half alone.`);
    return undefined;
  }
}

async function prepare() {
  await installPackages();
  const errors = await build();
  if (errors) throw new Stop(`the build failed:\n${errors}`);
  await run(process.execPath, [tscPath(), "-p", examples], { output: "quiet", check: true });
}

/** What the Python side is told. The TypeScript side, without a broker URL, uses these folders by itself. */
function pythonSettings(folder, { broker, backend }) {
  const shared = {
    task_default_queue: "demo-python",
    task_routes: { "demo.ts.*": { queue: "demo-typescript" }, "demo.py.*": { queue: "demo-python" } },
    broker_connection_retry_on_startup: true,
  };
  if (broker) return { ...shared, broker_url: broker, ...(backend ? { result_backend: backend } : {}) };
  const own = (name) => {
    const path = join(folder, ".lovage", name);
    mkdirSync(path, { recursive: true });
    return path;
  };
  return {
    ...shared,
    broker_url: "filesystem://",
    broker_transport_options: {
      data_folder_in: own("broker"),
      data_folder_out: own("broker"),
      control_folder: own("control"),
      polling_interval: 0.02,
    },
    result_backend: pathToFileURL(own("results")).href,
  };
}

/** Runs a client and prints a row for each line it reports. */
async function runClient(command, args, options) {
  const client = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let rest = "";
  let complaints = "";
  let rows = 0;
  client.stderr.setEncoding("utf8").on("data", (text) => {
    complaints += text;
  });
  client.stdout.setEncoding("utf8").on("data", (text) => {
    rest += text;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      printRow(JSON.parse(rest.slice(0, end)));
      rest = rest.slice(end + 1);
      rows++;
    }
  });
  const timer = setTimeout(() => client.kill("SIGKILL"), 60_000);
  const code = await new Promise((resolve) => client.once("close", resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Stop(`a client of the demo failed:\n${complaints.trimEnd()}`);
  return rows;
}

function printRow({ from, to, call, result, error, ms }) {
  const outcome = error === undefined ? `= ${result}` : `! ${error}`;
  say(`  ${from.padEnd(10)} to ${to.padEnd(33)} ${call.padEnd(32)} ${`${ms} ms`.padStart(10)}   ${outcome}`);
}

await main(async (args) => {
  const { broker, backend } = readFlags(args);
  if (broker && !backend) throw new Stop("with --broker also --backend is needed, for the results");
  await prepare();
  const python = await findCelery();
  const { startNodeWorker, startPythonWorker } = await import(
    pathToFileURL(join(root, "dist", "src", "testing", "index.js")).href
  );

  const folder = mkdtempSync(join(tmpdir(), "lovage-demo-"));
  const settings = join(folder, "settings.json");
  writeFileSync(settings, JSON.stringify(pythonSettings(folder, { broker, backend }), null, 2));
  const nodeEnv = {
    LOVAGE_LOG_LEVEL: "error",
    ...(broker ? { LOVAGE_BROKER_URL: broker, LOVAGE_RESULT_BACKEND: backend } : {}),
  };
  const pythonEnv = { DEMO_SETTINGS: settings, PYTHONPATH: examples, PYTHONDONTWRITEBYTECODE: "1" };
  const workers = [];
  const stop = async () => {
    await Promise.all(workers.map((worker) => worker.stop({ grace: 5_000 })));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  const onSignal = () => void stop().finally(() => process.exit(130));
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);

  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  try {
    say(`\n${bold("broker")} ${broker ? withoutPassword(broker) : `none: files under ${join(folder, ".lovage")}`}`);
    // One after the other: Kombu's filesystem transport does not expect two programs to declare at the same moment.
    workers.push(
      await startNodeWorker({
        module: join(compiled, "tasks.js"),
        args: ["-Q", "demo-typescript", "-l", "info"],
        cwd: folder,
        env: nodeEnv,
      }),
    );
    say(`${bold("worker")} TypeScript, Node ${process.versions.node}, ready after ${seconds()}`);
    if (python) {
      workers.push(
        await startPythonWorker({
          python,
          app: "tasks",
          cwd: examples,
          queues: ["demo-python"],
          pool: "solo",
          heartbeat: false,
          env: pythonEnv,
        }),
      );
      say(`${bold("worker")} Python, Celery ${celeryEnvironments[0].replace("celery-", "")}, ready after ${seconds()}`);
    }
    say("");
    let rows = 0;
    if (python) {
      rows += await runClient(python, [join(examples, "client.py")], {
        env: { ...process.env, ...pythonEnv },
        cwd: folder,
      });
    }
    rows += await runClient(process.execPath, [join(compiled, "client.js"), ...(python ? ["--python"] : [])], {
      env: { ...process.env, ...nodeEnv },
      cwd: folder,
    });
    say(`\n${rows} calls, ${seconds()} with the start of the workers`);
    return 0;
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await stop();
  }
});

function withoutPassword(url) {
  return url.replace(/^([a-z+]+:\/\/[^:/@]*):[^@]*@/i, "$1:**@");
}
