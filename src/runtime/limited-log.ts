/**
 * A log for what strangers can cause: lines of one kind, that is of one text, are written so many times in a while; the rest are
 * counted, and told with the next one that is written. `trace` and `debug` are not limited.
 */
import type { Log } from "./log.ts";

export interface LogLimits {
  /** Lines of one kind in a period. @default 100 */
  readonly lines?: number;
  /** Milliseconds. @default 60_000 */
  readonly periodMs?: number;
  /** Monotonic milliseconds. @default performance.now */
  readonly now?: () => number;
}

type Level = "info" | "warn" | "error" | "fatal";

interface Kind {
  since: number;
  written: number;
  silenced: number;
}

/** Kinds that are counted at a time; texts of strangers' own begin anew. */
const MOST_KINDS = 200;

export function limitedLog(log: Log, limits: LogLimits = {}): Log {
  const { lines = 100, periodMs = 60_000, now = () => performance.now() } = limits;
  const kinds = new Map<string, Kind>();
  const kindOf = (words: string): Kind => {
    let kind = kinds.get(words);
    if (kind === undefined) {
      if (kinds.size >= MOST_KINDS) kinds.clear();
      kind = { since: now(), written: 0, silenced: 0 };
      kinds.set(words, kind);
    }
    return kind;
  };
  const at = (level: Level) => (fields: object, message?: string) => {
    const kind = kindOf(message ?? "");
    const when = now();
    const renewed = when - kind.since >= periodMs;
    if (renewed) Object.assign(kind, { since: when, written: 0 });
    if (kind.written >= lines) {
      kind.silenced++;
      return;
    }
    kind.written++;
    const silenced = kind.silenced;
    kind.silenced = 0;
    if (silenced > 0) return log[level]({ ...fields, silenced }, message);
    if (kind.written < lines) return log[level](fields, message);
    log[level]({ ...fields, limit: `further lines like this are counted for ${periodMs / 1000} s` }, message);
  };
  return {
    trace: (fields, message) => log.trace(fields, message),
    debug: (fields, message) => log.debug(fields, message),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    fatal: at("fatal"),
    isLevelEnabled: (level) => log.isLevelEnabled?.(level) ?? true,
  };
}
