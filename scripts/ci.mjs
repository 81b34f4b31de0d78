/**
 * What `.ci/run` does: the check, the whole suite on the Node at hand, and once more, in small, on the newest LTS Node. Ends
 * with one line, `N passed, N failed, N skipped`, over all of it; each failed check counts as one failure.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cache, main, root, run, say } from "./lib/run.mjs";

/** The newest line that is, or this autumn becomes, LTS. npm carries its binaries as `node-<platform>-<arch>`. */
const ltsMajor = 26;

/** Runs a script of ours, streams its output, and reads the counts off its last lines. */
function runScript(node, args, minutes) {
  return new Promise((resolve) => {
    const child = spawn(node, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    let tail = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      process.stdout.write(text);
      tail = (tail + text).slice(-20_000);
    });
    // The scripts end what they started when they are asked to end.
    const timer = setTimeout(() => child.kill("SIGTERM"), minutes * 60_000);
    child.once("close", (code) => {
      clearTimeout(timer);
      const counts = [...tail.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)].at(-1);
      const [passed, failed, skipped] = counts ? counts.slice(1).map(Number) : [0, 0, 0];
      const reasons = [...tail.matchAll(/^failed {2}.*(?:\n {8}.*)*/gm)].map(([text]) => text);
      resolve({ passed, failed: code !== 0 && failed === 0 ? 1 : failed, skipped, reasons });
    });
  });
}

/** The program of the newest LTS Node, installed into the cache; `undefined` when we run on it, or on a newer one, already. */
async function ltsNode() {
  if (Number(process.versions.node.split(".")[0]) >= ltsMajor) return undefined;
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(cache, `node-${ltsMajor}`);
  const program = join(folder, "node_modules", name, "bin", "node");
  if (!existsSync(program)) {
    await run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", folder, `${name}@${ltsMajor}`], {
      output: "quiet",
      check: true,
    });
  }
  return program;
}

await main(async () => {
  const outcomes = [];
  const step = async (title, node, args, minutes) => {
    say(`\n=== ${title}`);
    outcomes.push({ title, ...(await runScript(node, args, minutes)) });
  };
  const test = join(root, "scripts", "test.mjs");
  await step("npm run check", process.execPath, [join(root, "scripts", "check.mjs")], 3);
  await step(`npm test on Node ${process.versions.node}`, process.execPath, [test], 50);
  const lts = await ltsNode();
  if (lts) {
    await step(`unit ring on Node ${ltsMajor}`, lts, [test, "--ring", "unit"], 4);
    await step(`real peers on Node ${ltsMajor}`, lts, [test, "--ring", "services,interop", "python-peers", "smoke"], 4);
  }
  const sum = (key) => outcomes.reduce((total, outcome) => total + outcome[key], 0);
  say("\n=== summary");
  for (const { reasons } of outcomes) for (const reason of reasons) say(reason);
  for (const { title, passed, failed, skipped } of outcomes) {
    say(`${failed > 0 ? "failed" : "ok    "}  ${title}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
  say(`${sum("passed")} passed, ${sum("failed")} failed, ${sum("skipped")} skipped`);
  return sum("failed") === 0 && sum("passed") > 0 ? 0 : 1;
});
