/**
 * One contender as a child process: JSON lines out of it, words into it, its processor time from outside, and its end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { MeasurementFailed } from "./failure.mjs";

/** Ticks a second in /proc/<pid>/stat; 100 on every Linux that Node runs on. */
const TICKS = 100;
const KEPT_ERROR_TEXT = 4_000;

export class Contender {
  #child;
  #stderr = "";
  #said = new Map();
  #waiting = new Map();
  #exit;

  /** `cwd` is where profiles are written. */
  constructor([file, args], { cwd, env } = {}) {
    this.startedAt = performance.timeOrigin + performance.now();
    this.#child = spawn(file, args, { cwd, env: cleanEnvironment(env), stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr.on("data", (bytes) => {
      this.#stderr = (this.#stderr + bytes).slice(-KEPT_ERROR_TEXT);
    });
    this.#child.stdin.on("error", () => undefined);
    this.#exit = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve(`cannot be started: ${error.message}`));
      this.#child.once("exit", (code, signal) => resolve(`ended with ${signal ?? `code ${code}`}`));
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(line));
  }

  get pid() {
    return this.#child.pid;
  }

  /** What went wrong so far, for messages. */
  get errors() {
    return this.#stderr.trim();
  }

  /** Rejects as soon as the process is gone. */
  async gone(what) {
    const how = await this.#exit;
    throw new MeasurementFailed(`${what}: the process ${how}\n${this.errors}`);
  }

  /** Resolves when it has ended well. */
  async ended() {
    const how = await this.#exit;
    if (how !== "ended with code 0") throw new MeasurementFailed(`the process ${how}\n${this.errors}`);
  }

  say(word) {
    this.#child.stdin.write(`${word}\n`);
  }

  /** The value of `{"<topic>": value}` on a line of its output; rejects when the process ends first. */
  hear(topic) {
    if (this.#said.has(topic)) return Promise.resolve(this.#said.get(topic));
    const heard = new Promise((resolve) => this.#waiting.set(topic, resolve));
    return Promise.race([heard, this.gone(`waiting for "${topic}"`)]);
  }

  #hear(line) {
    if (!line.startsWith("{")) return;
    const message = JSON.parse(line);
    for (const [topic, value] of Object.entries(message)) {
      this.#said.set(topic, value);
      this.#waiting.get(topic)?.(value);
    }
  }

  /** Milliseconds of processor time, user and system, of the process and its living descendants; null where /proc is not. */
  cpuMs() {
    return treeCpuMs(this.pid);
  }

  /** Peak resident memory of the first process in MB; null where /proc is not. */
  peakMb() {
    try {
      const found = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"));
      return found === null ? null : Number(found[1]) / 1024;
    } catch {
      return null;
    }
  }

  /** Asks it to end, and makes it after `graceMs`. */
  async stop(graceMs = 5_000) {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => {
      for (const pid of [...descendants(this.pid), this.pid]) killQuietly(pid);
    }, graceMs);
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    clearTimeout(timer);
  }
}

/** Settings of the surroundings must not reach some contenders and not others. */
function cleanEnvironment(extra) {
  const env = { ...process.env, NODE_ENV: "production", ...extra };
  for (const name of Object.keys(env)) {
    if (/^(?:LOVAGE|CELERY|C_|NODE_OPTIONS|PYTHONPATH)/.test(name)) delete env[name];
  }
  return env;
}

function killQuietly(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** Fields of /proc/<pid>/stat after the command name, which may hold anything. */
function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

function descendants(root) {
  const children = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(name);
    if (stat === null) continue;
    const parent = Number(stat[1]);
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [Number(name)]);
    else siblings.push(Number(name));
  }
  const found = [];
  const open = [root];
  while (open.length > 0) {
    for (const child of children.get(open.pop()) ?? []) {
      found.push(child);
      open.push(child);
    }
  }
  return found;
}

export function treeCpuMs(root) {
  if (process.platform !== "linux") return null;
  let ticks = 0;
  for (const pid of [root, ...descendants(root)]) {
    const stat = statOf(pid);
    if (stat !== null) ticks += Number(stat[11]) + Number(stat[12]);
  }
  return (ticks * 1000) / TICKS;
}
