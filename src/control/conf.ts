/**
 * Settings as `inspect conf` shows them: no credential among them. wire: celery/app/utils.py `filter_hidden_settings`, `table`;
 * behaviour 3.3.
 */

import { isRecord } from "../../protocol/records.ts";
import { pyRepr } from "../../protocol/saferepr.ts";
import { PyFloat } from "../../protocol/values.ts";
import type { Settings } from "../settings/settings.ts";
import { SETTING_NAMES } from "../settings/table.ts";

const MASK = "********";

/** Names whose values nobody is shown; `task_default_routing_key` is one of them in Celery too. */
const HIDDEN = /API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE/i;

/** Settings that were set, or all of them. `given`: those that are not left to their defaults. */
export function confTable(settings: Settings, withDefaults: boolean, given: ReadonlySet<string>): Map<string, unknown> {
  const table = new Map<string, unknown>();
  for (const name of SETTING_NAMES) {
    if (given.has(name)) table.set(name, shown(name, settings[name]));
    else if (withDefaults) table.set(name, FLOATS.has(name) ? floatOf(settings[name]) : shown(name, settings[name]));
  }
  return table;
}

/** Settings whose defaults are floats in Celery, and travel as such: `300.0`. wire: celery/app/defaults.py */
const FLOATS: ReadonlySet<string> = new Set([
  "control_queue_ttl",
  "control_queue_expires",
  "event_queue_ttl",
  "event_queue_expires",
  "result_chord_join_timeout",
  "result_chord_retry_interval",
  "worker_proc_alive_timeout",
  "worker_soft_shutdown_timeout",
]);

function floatOf(value: unknown): unknown {
  return typeof value === "number" ? new PyFloat(value) : value;
}

/** What JSON has a form for, with credentials hidden; everything else as text. */
export function shown(name: string, value: unknown): unknown {
  if (HIDDEN.test(name)) return MASK;
  // Python has several URLs as one text.
  if (name.endsWith("_url") && Array.isArray(value)) return maskedUrl(value.join(";"));
  return jsonOf(IN_OUR_NAMES.has(name) ? inCelerysNames(value) : value, 0);
}

/** Settings whose values have members of ours; those of all others are the user's. */
const IN_OUR_NAMES: ReadonlySet<string> = new Set(["task_publish_retry_policy", "task_queues"]);

/** `intervalMax` is Celery's `interval_max`. */
function inCelerysNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inCelerysNames);
  if (!isRecord(value)) return value;
  const named = Object.entries(value).map(([name, member]) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    inCelerysNames(member),
  ]);
  return Object.fromEntries(named);
}

function jsonOf(value: unknown, depth: number): unknown {
  if (typeof value === "string") return maskedUrl(value);
  if (value === null || typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return value;
  if (value === undefined) return null;
  if (depth > 20) return pyRepr(String(value));
  if (Array.isArray(value)) return value.map((item) => jsonOf(item, depth + 1));
  if (value instanceof Set) return [...value].map((item) => jsonOf(item, depth + 1));
  if (value instanceof Map) return mapped(value, depth);
  if (isRecord(value)) return mapped(Object.entries(value), depth);
  return pyRepr(value);
}

function mapped(entries: Iterable<readonly [unknown, unknown]>, depth: number): Map<string, unknown> {
  const table = new Map<string, unknown>();
  for (const [key, value] of entries) {
    const name = String(key);
    table.set(name, HIDDEN.test(name) ? MASK : jsonOf(value, depth + 1));
  }
  return table;
}

/** Kombu's `as_uri(mask="********")`, of every URL in the text. */
export function maskedUrl(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/[^/?#@\s;]*?):[^/?#\s;]*@/gi, `$1:${MASK}@`)
    .replace(/([?&](?:password|passphrase|secret|token)=)[^&#;\s]*/gi, `$1${MASK}`);
}
