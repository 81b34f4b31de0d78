/**
 * A worker that starts asks the others what was revoked and what time it is. wire: celery/worker/consumer/mingle.py;
 * behaviour 4.8. Celery's worker waits a whole second for the others; here a start goes on when they have fallen silent.
 */
import type { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import { isRecord } from "../../protocol/records.ts";
import type { Log } from "../runtime/log.ts";
import { textList } from "./commands/tasks.ts";
import type { Mailbox, Reply } from "./mailbox.ts";
import type { RevokesView } from "./worker-view.ts";

export interface MingleOptions {
  readonly mailbox: Mailbox;
  readonly hostname: string;
  readonly revokes: Pick<RevokesView, "ids" | "merge">;
  readonly clock: LamportClock;
  readonly log: Log;
  /** Whether our own mailbox is open, and answers too. */
  readonly listening: boolean;
  /** Milliseconds of silence after which nobody else is expected. @default 1000 */
  readonly timeoutMs?: number;
}

export interface Mingling {
  /** Resolves when nobody has said anything for a moment: a start need not wait longer. */
  readonly settled: Promise<void>;
  /** Resolves when all is said. Rejects when the broker cannot be reached. */
  readonly done: Promise<void>;
}

/** Once one has answered, the others do so at once, when they do at all. */
const QUIET_MS = 300;

export function mingle(options: MingleOptions): Mingling {
  const { mailbox, hostname, revokes, clock, log, timeoutMs = 1_000, listening } = options;
  let nodes = 0;
  let own = 0;
  let quiet: () => void = () => undefined;
  let timer: NodeJS.Timeout | undefined;
  const settled = new Promise<void>((resolve) => {
    quiet = resolve;
  });
  const awaitSilence = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(quiet, ms);
  };
  // Workers that are busy may need a while for the first answer, and what was revoked must be known before the first task.
  awaitSilence(timeoutMs);
  const onReply = (reply: Reply) => {
    awaitSilence(QUIET_MS);
    for (const [node, value] of Object.entries(reply)) {
      if (node === hostname) own++;
      else if (isRecord(value)) {
        nodes++;
        take(value);
      }
    }
  };
  const take = (said: Record<string, unknown>) => {
    if (typeof said.clock === "number" && said.clock > 0) clock.adjust(said.clock);
    else clock.forward();
    const ids = idsOf(said.revoked);
    if (ids.length > 0) revokes.merge(ids);
  };
  const ask = { method: "hello", arguments: { from_node: hostname, revoked: revokes.ids() } };
  const done = mailbox
    .call(ask, { timeoutMs, early: false, mandatory: !listening, onReply })
    .then(() => {
      log.info({ nodes }, nodes === 0 ? "mingle: all alone" : "mingle: sync complete");
      if (own > (listening ? 1 : 0)) {
        log.warn({ hostname }, `another node named ${hostname} runs: give each worker a name of its own (name, or -n)`);
      }
    })
    .finally(() => {
      clearTimeout(timer);
      quiet();
    });
  return { settled, done };
}

/** A list, or a map of ids to times, which Celery before 5.6 sends. */
export function idsOf(revoked: unknown): string[] {
  return isRecord(revoked) ? Object.keys(revoked) : textList(revoked);
}
