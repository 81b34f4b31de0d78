/**
 * `npm test`: installs what is missing, starts private servers, runs every ring, stops everything, and ends with one line,
 * `N passed, N failed, N skipped`.
 *
 *   npm test                                    all rings
 *   npm test -- --ring unit                     one ring: unit, services, interop, docs (or several: unit,services)
 *   npm test -- src/transports amqp             files whose path contains one of these
 *   npm test -- --ring unit -- -t "promise"     everything after a second `--` goes to Vitest
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { main, root, Stop, say } from "./lib/run.mjs";
import { needBrowser, needTerminal, pythonForTests, startServices } from "./services.mjs";
import { binPath, build, installPackages } from "./setup.mjs";

/** Deadlines in minutes: a ring that hangs is a ring that failed. */
const rings = {
  unit: { minutes: 6, services: false },
  services: { minutes: 10, services: true },
  interop: { minutes: 30, services: true },
  docs: { minutes: 10, services: true },
};

/** Rings whose files share one queue: neither has to wait for the last file of the other. */
const together = ["interop", "docs"];

function runsOf(names) {
  const shared = together.every((name) => names.includes(name)) ? together : [];
  return names.flatMap((name) => (shared.includes(name) ? (name === shared[0] ? [shared] : []) : [[name]]));
}

function parseArguments(args) {
  const split = args.indexOf("--");
  const own = split < 0 ? args : args.slice(0, split);
  const passed = split < 0 ? [] : args.slice(split + 1);
  let names = Object.keys(rings);
  const filters = [];
  for (let i = 0; i < own.length; i++) {
    const [flag, value] = own[i].split("=");
    if (flag === "--ring") {
      const wanted = value ?? own[++i] ?? "";
      names = wanted === "all" ? names : wanted.split(",");
      const unknown = names.find((name) => !rings[name]);
      if (unknown !== undefined)
        throw new Stop(`no ring "${unknown}"; there are ${Object.keys(rings).join(", ")} and all`);
    } else if (own[i].startsWith("-")) throw new Stop(`unknown option ${own[i]}; options for Vitest come after "--"`);
    else filters.push(own[i]);
  }
  return { names, filters, passed };
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => interrupted.abort(signal));

/** Runs rings side by side to their end or their deadline. Resolves with what Vitest reported. */
async function runRings(names, { filters, passed, env, reports }) {
  const name = names.join(" and ");
  const report = join(reports, `${names.join("-")}.json`);
  const args = [
    ...["run", ...names.map((ring) => `--project=${ring}`)],
    ...["--reporter=default", "--reporter=json", `--outputFile.json=${report}`],
    ...filters,
    ...passed,
  ];
  const minutes = names.reduce((sum, ring) => sum + rings[ring].minutes, 0);
  const how = await new Promise((resolve, reject) => {
    // Its own group, so that whatever a stuck test left behind ends with it.
    const child = spawn(process.execPath, [binPath("vitest"), ...args], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit"],
      detached: true,
    });
    const kill = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch {
        // The group has ended.
      }
    };
    const end = (why) => {
      kill("SIGTERM");
      setTimeout(kill, 5_000, "SIGKILL").unref();
      reason ??= why;
    };
    let reason;
    const timer = setTimeout(end, minutes * 60_000, `did not end within ${minutes} minutes`);
    const onInterrupt = () => end("was interrupted");
    interrupted.signal.addEventListener("abort", onInterrupt);
    child.once("error", reject);
    child.once("exit", (code) => {
      clearTimeout(timer);
      interrupted.signal.removeEventListener("abort", onInterrupt);
      kill("SIGKILL");
      resolve({ code, reason });
    });
  });
  return { name, ...summarize(report, how), ...how };
}

/** Counts of a ring. What cannot be counted as a test counts as one failure: a file that did not load, a ring cut short. */
function summarize(report, { code, reason }) {
  const failures = reason ? [`the ring ${reason}`] : [];
  let json;
  try {
    json = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    if (!reason) failures.push(`Vitest ended with code ${code} and left no report`);
    return { passed: 0, failed: failures.length, skipped: 0, failures };
  }
  for (const file of json.testResults) {
    const path = relative(root, file.name);
    const failed = file.assertionResults.filter(({ status }) => status === "failed");
    for (const test of failed) failures.push(`${path}: ${test.fullName}${why(test.failureMessages)}`);
    if (file.status === "failed" && failed.length === 0)
      failures.push(`${path}: ${firstLine(file.message) || "did not load"}`);
  }
  if (code !== 0 && failures.length === 0 && json.testResults.length > 0)
    failures.push(`Vitest ended with code ${code}`);
  return {
    passed: json.numPassedTests,
    failed: failures.length,
    skipped: json.numPendingTests + json.numTodoTests,
    failures,
  };
}

const firstLine = (text) => (text ?? "").trim().split("\n")[0];

/** The beginning of each message of a failed test, indented: enough to know it by when only the end of a log is kept. */
function why(messages) {
  const lines = (messages ?? []).flatMap((message) => message.trim().split("\n").slice(0, 12));
  return lines.map((line) => `\n        ${line.slice(0, 300)}`).join("");
}

await main(async (args) => {
  const { names, filters, passed } = parseArguments(args);
  await installPackages();
  const outcomes = [];
  let services;
  let env = {};
  // All temporary folders of this run lie in one, so that also those of a test that was killed go with it.
  const scratch = mkdtempSync(join(tmpdir(), "lovage-test-"));
  process.env.TMPDIR = scratch;
  try {
    if (names.some((name) => rings[name].services)) {
      const errors = await build();
      if (errors) {
        say(errors);
        outcomes.push({ name: "build", passed: 0, failed: 1, skipped: 0, failures: ["the sources do not compile"] });
      }
      const tools = names.includes("interop") ? [needTerminal(), needBrowser()] : [];
      const [python] = await Promise.all([pythonForTests(), ...tools]);
      say("starting Redis and RabbitMQ");
      services = await startServices();
      env = { ...python, ...services.env, LOVAGE_TEST_LOG_DIR: join(root, "interop-tests", "artefacts", "logs") };
      rmSync(env.LOVAGE_TEST_LOG_DIR, { recursive: true, force: true });
    }
    for (const run of runsOf(names)) {
      if (interrupted.signal.aborted) break;
      say(`\n--- ring: ${run.join(" and ")}`);
      outcomes.push(await runRings(run, { filters, passed, env, reports: scratch }));
    }
  } finally {
    await services?.stop();
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
  const sum = (key) => outcomes.reduce((total, outcome) => total + outcome[key], 0);
  say("");
  for (const outcome of outcomes) {
    for (const failure of outcome.failures) say(`failed  ${outcome.name}: ${failure}`);
  }
  for (const { name, passed, failed, skipped } of outcomes)
    say(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  if (interrupted.signal.aborted) say("interrupted");
  else if (sum("passed") + sum("failed") === 0) say("no test ran");
  say(`${sum("passed")} passed, ${sum("failed")} failed, ${sum("skipped")} skipped`);
  return sum("failed") === 0 && sum("passed") > 0 && !interrupted.signal.aborted ? 0 : 1;
});
