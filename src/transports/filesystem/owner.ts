/**
 * Who owns a folder of claimed messages, told by its name, and whether that process still lives. A process is named by host,
 * boot, pid namespace, pid and start time, so that neither a reused pid nor another container's is taken for it. Where pids mean
 * nothing to us (another host or namespace), a folder whose time stamp is not renewed has a dead owner.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { errorCode } from "./folders.ts";

/** How often an owner renews the time stamp of its folder. */
export const heartbeatMs = 15_000;
/** Without a renewal for so long, an owner that cannot be looked at is dead. */
const silenceMs = 120_000;

/** `<host>~<boot>~<pid namespace>~<pid>~<start>~<random>` */
export function newOwnerName(): string {
  return [...place(), process.pid, startOf(process.pid) ?? 0, randomBytes(6).toString("hex")].join("~");
}

/** False for names that are no owner's, and when in doubt. */
export function isDead(name: string, claims: string): boolean {
  const parts = name.split("~");
  const [host, boot, namespace, pid, start] = parts;
  if (parts.length !== 6) return false;
  const here = place();
  const comparable = host === here[0] && boot === here[1] && namespace === here[2] && start !== "0";
  if (comparable) return startOf(Number(pid)) !== start;
  if (host === here[0] && start === "0" && !exists(Number(pid))) return true;
  try {
    return Date.now() - statSync(join(claims, name)).mtimeMs > silenceMs;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false; // somebody else has dealt with it
    throw error;
  }
}

let knownPlace: readonly [host: string, boot: string, namespace: string] | null = null;

function place(): readonly [host: string, boot: string, namespace: string] {
  knownPlace ??= [
    hostname().replace(/[^A-Za-z0-9.-]/g, "-") || "host",
    (readOr("/proc/sys/kernel/random/boot_id") ?? "").replace(/[^0-9a-f]/g, "").slice(0, 12) || "0",
    /\d+/.exec(linkOr("/proc/self/ns/pid") ?? "")?.[0] ?? "0",
  ];
  return knownPlace;
}

/** Clock ticks after boot at which a process started; null: there is none, or it is a zombie. */
function startOf(pid: number): string | null {
  const stat = readOr(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // the second field is the program's name in brackets and may hold anything
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== "ESRCH";
  }
}

function readOr(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function linkOr(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
