/** Installs system packages where we may: as root on a system with apt. No service is started by it. */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { findProgram, run, say } from "./run.mjs";

const policy = "/usr/sbin/policy-rc.d";

let last = Promise.resolve();

/** Whether the packages are now installed. `false`: this is not a system, or not a user, that can. One call after the other. */
export function installSystemPackages(names) {
  const turn = last.then(() => install(names));
  last = turn.catch(() => undefined);
  return turn;
}

async function install(names) {
  if (process.getuid?.() !== 0 || !findProgram("apt-get")) return false;
  say(`installing ${names.join(", ")} from the system's packages`);
  // Debian's packages start their service when installed. 101 means "not allowed"; whatever policy stands already is kept.
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  const env = { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1", LC_ALL: "C" };
  const apt = (...args) => run("apt-get", ["-o", "DPkg::Lock::Timeout=300", ...args], { env, output: "quiet" });
  try {
    let done = await apt("install", "-y", "-q", "--no-install-recommends", ...names);
    if (done.code !== 0) {
      // Most often the package lists are missing or old.
      await apt("update", "-q");
      done = await apt("install", "-y", "-q", "--no-install-recommends", ...names);
    }
    if (done.code !== 0) say(done.text.trimEnd());
    return done.code === 0;
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}
