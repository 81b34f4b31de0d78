/**
 * A private RabbitMQ and Redis for one run, on free loopback ports. The servers are found on this machine, else installed from
 * the system's packages when we are root. How they are started is `lovage/testing`'s business, so the build comes first.
 *
 *   node scripts/services.mjs                       starts them, prints the environment for the tests, stops on Ctrl-C
 *   node scripts/services.mjs -- npx vitest run …   runs a command with that environment
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { findProgram, main, root, run, Stop, say } from "./lib/run.mjs";
import { installSystemPackages } from "./lib/system-packages.mjs";
import { celeryEnvironments, mognetEnvironment, pythonEnvironments } from "./python-env.mjs";
import { build, installPackages } from "./setup.mjs";

const servers = [
  { program: "redis-server", packages: ["redis-server"] },
  { program: "rabbitmq-server", packages: ["rabbitmq-server"] },
];

async function findOrInstall() {
  const missing = servers.filter(({ program }) => !findProgram(program));
  if (missing.length === 0) return;
  await installSystemPackages(missing.flatMap(({ packages }) => packages));
  const still = missing.filter(({ program }) => !findProgram(program)).map(({ program }) => program);
  if (still.length > 0) {
    throw new Stop(
      `${still.join(" and ")} not found. Install them (Debian, Ubuntu: apt-get install redis-server rabbitmq-server; ` +
        "macOS: brew install redis rabbitmq) or run this as root, then try again.",
    );
  }
}

/** A terminal for the tests of live views, where we may install one; without it they fail in CI and are skipped elsewhere. */
export async function needTerminal() {
  if (!findProgram("tmux")) await installSystemPackages(["tmux"]);
}

/** A browser for the tests of Flower's pages, on the same terms. Debian's brings its libraries and fonts: 0.4 GB, installed in a minute. */
export async function needBrowser() {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  if (!process.env.LOVAGE_TEST_BROWSER && !names.some(findProgram)) await installSystemPackages(["chromium"]);
}

/** Resolves with `{ env, stop }`: the addresses for the tests, and what ends the servers and removes their folders. */
export async function startServices() {
  await findOrInstall();
  const harness = await import(pathToFileURL(join(root, "dist", "src", "testing", "index.js")).href);
  const started = await Promise.allSettled([harness.startRedis(), harness.startRabbitmq()]);
  const up = started.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  const stop = async () => {
    await Promise.all(up.map((server) => server[Symbol.asyncDispose]()));
  };
  const failed = started.filter(({ status }) => status === "rejected");
  if (failed.length > 0) {
    await stop();
    throw new Stop(failed.map(({ reason }) => String(reason.message)).join("\n"));
  }
  const [redis, rabbitmq] = up;
  return {
    stop,
    env: {
      LOVAGE_TEST_REDIS_URL: redis.url,
      LOVAGE_TEST_AMQP_URL: rabbitmq.url,
      LOVAGE_TEST_RABBITMQ_API: rabbitmq.apiUrl,
    },
  };
}

/** The interpreters as the tests look for them: Celery's by version, the one that Lovage follows, and Mognet's. */
export async function pythonForTests() {
  const made = await pythonEnvironments([...celeryEnvironments, mognetEnvironment]);
  const entries = celeryEnvironments.map((name) => [
    `LOVAGE_TEST_PYTHON_${name.replace("celery-", "").replaceAll(".", "_")}`,
    made[name],
  ]);
  return {
    LOVAGE_TEST_PYTHON: made[celeryEnvironments[0]],
    LOVAGE_TEST_PYTHON_MOGNET: made[mognetEnvironment],
    ...Object.fromEntries(entries),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async (args) => {
    await installPackages();
    await build();
    const [{ env, stop }, python] = await Promise.all([startServices(), pythonForTests()]);
    const all = { ...env, ...python };
    try {
      const command = args[0] === "--" ? args.slice(1) : args;
      if (command.length > 0) return (await run(command[0], command.slice(1), { env: all, timeoutMs: 3_600_000 })).code;
      for (const [name, value] of Object.entries(all)) say(`export ${name}=${value}`);
      const beat = setInterval(() => undefined, 60_000);
      await new Promise((resolve) => {
        process.once("SIGINT", resolve);
        process.once("SIGTERM", resolve);
      });
      clearInterval(beat);
      return 0;
    } finally {
      await stop();
    }
  });
}
