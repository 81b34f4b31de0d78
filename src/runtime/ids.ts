/** Ids and names of this process. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";

/** A fresh task, group or delivery id: UUID version 4 with dashes. */
export function newId(): string {
  return randomUUID();
}

/** The `origin` header of what this process publishes, as Celery writes it: `gen<pid>@<host>`. */
export function processOrigin(): string {
  return `gen${process.pid}@${hostname()}`;
}

/** Node name from a `-n` pattern: `%h` host name, `%n` its first part, `%d` its domain, `%%` a percent sign; without `@` the host is added. */
export function nodeName(pattern = "celery@%h", host: string = hostname()): string {
  const dot = host.indexOf(".");
  const parts: Record<string, string> = {
    "%h": host,
    "%n": dot < 0 ? host : host.slice(0, dot),
    "%d": dot < 0 ? "" : host.slice(dot + 1),
    "%%": "%",
  };
  const whole = pattern.includes("@") ? pattern : `${pattern}@%h`;
  return whole.replace(/%[hnd%]/g, (code) => parts[code] ?? code);
}
