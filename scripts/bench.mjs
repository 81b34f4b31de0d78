/**
 * Measures Lovage beside Celery, celery-node, BullMQ and bare client loops, on private servers (docs/benchmarks.md).
 *
 *   npm run bench                                    all, about six minutes
 *   npm run bench -- --quick                         one small round of all, under a minute
 *   npm run bench -- --only work/redis --names lovage,bare --rounds 3
 *   npm run bench -- --only work/amqp --names lovage --tasks 100000 --cpu-prof profiles
 *   npm run bench -- --canvas 1000,10000             chords of these sizes, and sending a group of 1,000
 *   npm run bench -- --mognet --rounds 5             Mognet's own client and worker, ours, and both mixtures
 *   npm run bench -- --events 20000                  a worker with task events on, beside off
 *
 * Servers that are named by LOVAGE_TEST_AMQP_URL and LOVAGE_TEST_REDIS_URL are used instead of private ones; the Redis
 * databases 0 and 1 must be empty.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cache, main, root, run, Stop, say } from "./lib/run.mjs";
import { mognetEnvironment, pythonEnvironments } from "./python-env.mjs";
import { startServices } from "./services.mjs";
import { build, installPackages } from "./setup.mjs";

const celery = "celery-5.7.0";
/** Measured beside, never depended upon: they live in .cache/bench and not in package.json. */
const npmPeers = { "celery-node": "0.5.9", bullmq: "6.7.0", ioredis: "5.11.1" };

await main(async (argv) => {
  const { values } = parseArgs({
    args: argv,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      names: { type: "string", default: "" },
      rounds: { type: "string" },
      tasks: { type: "string" },
      canvas: { type: "string" },
      mognet: { type: "boolean", default: false },
      events: { type: "string" },
      "cpu-prof": { type: "string" },
      out: { type: "string", default: join(root, "bench", "results", "latest.json") },
    },
  });
  await installPackages();
  const errors = await build();
  if (errors) say(`the build has type errors; measuring what was written\n${errors}`);
  if (values.mognet) return await mognet(values);
  const [python, npm] = await Promise.all([pythonEnvironments([celery]), installNpmPeers()]);
  const services = await servers();
  try {
    if (values.canvas !== undefined || values.events !== undefined) {
      const env = {
        ...process.env,
        AMQP_URL: services.env.LOVAGE_TEST_AMQP_URL,
        REDIS_URL: services.env.LOVAGE_TEST_REDIS_URL,
        PYTHON: python[celery],
      };
      const program = values.canvas === undefined ? "events.mjs" : "canvas.mjs";
      const args = [join(root, "bench", program), values.rounds ?? "3", values.canvas ?? values.events];
      return (await run(process.execPath, args, { env })).code;
    }
    const profiles = values["cpu-prof"] === undefined ? undefined : resolve(values["cpu-prof"]);
    if (profiles !== undefined) mkdirSync(profiles, { recursive: true });
    const { runBenchmarks } = await import("../bench/run.mjs");
    const { document, text, failures } = await runBenchmarks({
      amqpUrl: services.env.LOVAGE_TEST_AMQP_URL,
      redisUrl: services.env.LOVAGE_TEST_REDIS_URL,
      peers: { python: python[celery], ...npm },
      quick: values.quick,
      only: values.only,
      names: values.names.split(",").filter(Boolean),
      rounds: values.rounds === undefined ? undefined : Number(values.rounds),
      tasks: values.tasks === undefined ? undefined : Number(values.tasks),
      nodeFlags: profiles === undefined ? {} : { lovage: ["--cpu-prof", `--cpu-prof-dir=${profiles}`] },
      say,
    });
    mkdirSync(join(values.out, ".."), { recursive: true });
    const versions = { ...document.versions, celery: celery.replace("celery-", ""), ...npmPeers };
    writeFileSync(values.out, `${JSON.stringify({ ...document, versions }, null, 2)}\n`);
    say(`\n${text}\n\n${document.seconds} s; ${values.out}`);
    for (const { what, round, reason } of failures) say(`failed: ${what}, round ${round}: ${reason}`);
    return failures.length > 0 ? 1 : 0;
  } finally {
    await services.stop();
  }
});

/** Mognet has a plan of its own: its measures are not those of queues that are filled beforehand. */
async function mognet({ rounds = "3", quick }) {
  const python = await pythonEnvironments([mognetEnvironment]);
  const services = await servers();
  try {
    const folder = join(root, "bench", "results");
    mkdirSync(folder, { recursive: true });
    const env = {
      AMQP_URL: services.env.LOVAGE_TEST_AMQP_URL,
      REDIS_URL: services.env.LOVAGE_TEST_REDIS_URL,
      PYTHON: python[mognetEnvironment],
      OUT: join(folder, "mognet.json"),
    };
    const args = [join(root, "bench", "mognet.mjs"), rounds, ...(quick ? ["quick"] : [])];
    return (await run(process.execPath, args, { env })).code;
  } finally {
    await services.stop();
  }
}

async function servers() {
  const { LOVAGE_TEST_AMQP_URL, LOVAGE_TEST_REDIS_URL } = process.env;
  if (LOVAGE_TEST_AMQP_URL && LOVAGE_TEST_REDIS_URL) {
    return { env: { LOVAGE_TEST_AMQP_URL, LOVAGE_TEST_REDIS_URL }, stop: async () => undefined };
  }
  return startServices();
}

/** Resolves with the entry files. */
async function installNpmPeers() {
  const folder = join(cache, "bench");
  const manifest = join(folder, "package.json");
  const wanted = `${JSON.stringify({ private: true, dependencies: npmPeers }, null, 2)}\n`;
  const done = join(folder, "complete");
  if (!existsSync(done) || readFileSync(done, "utf8") !== wanted) {
    say("installing celery-node and BullMQ to measure beside");
    mkdirSync(folder, { recursive: true });
    writeFileSync(manifest, wanted);
    const npm = await run("npm", ["install", "--no-audit", "--no-fund", "--no-package-lock"], {
      cwd: folder,
      output: "quiet",
    });
    if (npm.code !== 0) throw new Stop(`npm install of the benchmark's peers failed:\n${npm.text.trimEnd()}`);
    writeFileSync(done, wanted);
  }
  const { resolve: find } = createRequire(manifest);
  return { celeryNode: find("celery-node"), bullmq: find("bullmq") };
}
