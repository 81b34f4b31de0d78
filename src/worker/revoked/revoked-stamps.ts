/**
 * Stamps whose tasks are revoked: header name to values. Bounded in number and age as ids are; Celery's grows without end.
 * wire: celery/worker/request.py `revoked`; behaviour 1.8.
 */
import type { RevokedLimits } from "./revoked-ids.ts";
import { RevokedIds } from "./revoked-ids.ts";

export interface StampedMessage {
  readonly stampedHeaders: readonly string[] | null;
  readonly stamps: Readonly<Record<string, unknown>>;
}

export class RevokedStamps {
  /** Header and value as one key, so that one bound holds for all of them. */
  readonly keys: RevokedIds;

  constructor(limits: RevokedLimits, now?: () => number) {
    this.keys = new RevokedIds(limits, now);
  }

  get size(): number {
    return this.keys.size;
  }

  add(header: string, values: readonly unknown[]): void {
    for (const value of values) this.keys.add(keyOf(header, value));
  }

  /** The stamp for which the task of this message is revoked; null when there is none. */
  match(message: StampedMessage): { header: string; value: unknown } | null {
    if (message.stampedHeaders === null) return null;
    for (const header of message.stampedHeaders) {
      for (const value of stampValues(message, header)) {
        if (this.keys.has(keyOf(header, value))) return { header, value };
      }
    }
    return null;
  }
}

/** The values of a stamp: a list is each of its values. */
export function stampValues(message: StampedMessage, header: string): readonly unknown[] {
  const value = Object.hasOwn(message.stamps, header) ? message.stamps[header] : undefined;
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** Equal for what Python calls equal among the values of JSON. */
export function keyOf(header: string, value: unknown): string {
  return JSON.stringify([header, comparable(value)]);
}

function comparable(value: unknown): unknown {
  if (typeof value === "bigint") return { integer: value.toString() };
  if (typeof value === "boolean") return Number(value);
  if (value instanceof Number) return value.valueOf();
  return value;
}
