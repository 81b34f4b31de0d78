/**
 * Names under which Celery's key-value backends keep results. wire: celery-wire 8.4; celery/backends/base.py
 * `_add_global_keyprefix`, `_get_key_for`.
 */
import { ImproperlyConfigured } from "../errors.ts";

/** The id of a task follows. wire: celery/backends/base.py `task_keyprefix`. */
export const TASK_KEY_PREFIX = "celery-task-meta-";
/** The id of a group follows. wire: celery/backends/base.py `group_keyprefix`. */
export const GROUP_KEY_PREFIX = "celery-taskset-meta-";
/** Chord counters of backends that count with plain increments (memcached and others), not of Redis. */
export const CHORD_UNLOCK_KEY_PREFIX = "chord-unlock-";

/** The five keys of a chord on Redis, and the group's own record. */
export interface ChordKeys {
  /** Record of the header's `GroupResult`. */
  group: string;
  /** Returned parts, by group index. */
  parts: string;
  /** Parts added while running (`add_to_chord`). */
  added: string;
  /** Size of the header. */
  size: string;
  /** Parts already counted, since 5.7. */
  counted: string;
  /** Claim of the one that sends the body, since 5.7. */
  claim: string;
}

/** `global_keyprefix` as Celery writes it: `_` is added unless it ends in one of `: _ - .` */
export function normalizeKeyPrefix(globalKeyprefix: string | null | undefined): string {
  if (globalKeyprefix === null || globalKeyprefix === undefined || globalKeyprefix === "") return "";
  return ":_-.".includes(globalKeyprefix.slice(-1)) ? globalKeyprefix : `${globalKeyprefix}_`;
}

/** All result keys under one `result_backend_transport_options.global_keyprefix`. */
export class ResultKeys {
  readonly taskPrefix: string;
  readonly groupPrefix: string;
  readonly chordUnlockPrefix: string;

  /** @param globalKeyprefix as the user set it @default "" */
  constructor(globalKeyprefix?: string | null) {
    const prefix = normalizeKeyPrefix(globalKeyprefix);
    this.taskPrefix = prefix + TASK_KEY_PREFIX;
    this.groupPrefix = prefix + GROUP_KEY_PREFIX;
    this.chordUnlockPrefix = prefix + CHORD_UNLOCK_KEY_PREFIX;
  }

  /** Key, and on Redis also the channel, of a task's result. */
  task(id: string): string {
    return this.taskPrefix + requireId(id);
  }

  group(id: string): string {
    return this.groupPrefix + requireId(id);
  }

  chordUnlock(id: string): string {
    return this.chordUnlockPrefix + requireId(id);
  }

  chord(groupId: string): ChordKeys {
    const group = this.group(groupId);
    return {
      group,
      parts: `${group}.j`,
      added: `${group}.t`,
      size: `${group}.s`,
      counted: `${group}.d`,
      claim: `${group}.c`,
    };
  }

  /** The task id in a key or channel name; null when the name is not a task's. */
  taskIdOf(key: string): string | null {
    return key.startsWith(this.taskPrefix) && key.length > this.taskPrefix.length
      ? key.slice(this.taskPrefix.length)
      : null;
  }
}

function requireId(id: string): string {
  if (typeof id !== "string" || id === "") throw new ImproperlyConfigured("a task or group id must not be empty");
  return id;
}
