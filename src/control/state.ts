/** What a control command is handed: its worker, and what stands around the worker. wire: celery/worker/pidbox.py `state`. */
import type { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import type { Queue } from "../../protocol/routing.ts";
import type { Log } from "../runtime/log.ts";
import type { Settings } from "../settings/settings.ts";
import type { WorkerView } from "./worker-view.ts";

/** Events of the worker as commands may switch them. */
export interface EventsSwitch {
  /** False: they were on already, or cannot be switched (a worker started with `-E`). */
  enableTaskEvents(): boolean;
  disableTaskEvents(): boolean;
  /** Sends one heartbeat now, as asked for by a monitor. */
  heartbeat(): void;
}

/** Where elections are held: by the gossip between workers. Celery: `control.election`. */
export interface Elections {
  /** Holds an election among the workers that gossip; the winner carries `action` out. */
  election(id: string, topic: string, action: unknown): void;
}

/** What the handler of a command gets of its worker. Celery: `state`, the first argument. */
export interface ControlState {
  /** The node's name. */
  readonly hostname: string;
  readonly worker: WorkerView;
  readonly settings: Settings;
  /** Names of the settings that are not left to their defaults. */
  readonly given: ReadonlySet<string>;
  /** Of Lovage. */
  readonly version: string;
  readonly clock: LamportClock;
  readonly events: EventsSwitch;
  /** Null: the worker does not gossip. */
  readonly gossip: Elections | null;
  /** A queue that the app knows by configuration; null: `add_consumer` defines it. */
  readonly configuredQueue: (name: string) => Queue | null;
  /** Begins a warm stop. */
  readonly shutdown: () => void;
  readonly log: Log;
}

/** Celery's two forms of a reply. */
export function ok(text: string): { ok: string } {
  return { ok: text };
}

export function nok(text: string): { error: string } {
  return { error: text };
}
