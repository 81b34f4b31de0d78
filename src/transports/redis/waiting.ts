/**
 * Waiting for messages without taking them: how a consumer whose lists are empty learns that they no longer are. A popped
 * message must become unacked in the same step, so a blocking pop is out of the question.
 *
 * First choice, `CLIENT TRACKING` (Redis 6): after the lists were seen empty with EXISTS on the command connection, the server
 * sends one note to the subscriber connection when any of them changes. One connection serves any number of lists, nothing is
 * polled, nothing is written. Where the server or its access rules refuse that, `BLMOVE list list RIGHT RIGHT` waits on
 * connections of its own: the same element goes back to the same place, so the command only blocks while the list is empty.
 */
import type { Log } from "../../runtime/log.ts";
import { ConnectionLost } from "../errors.ts";
import type { BlockingWaits } from "./blocking-waits.ts";
import type { LinkMember, RedisLink } from "./link.ts";
import type { InvalidationListener, Subscriber } from "./subscriber.ts";

/** Something that waits for its lists. */
export interface Sleeper {
  readonly listKeys: readonly string[];
  /** One of the lists may hold a message. */
  wake(): void;
}

export class Waiting implements LinkMember, InvalidationListener {
  readonly #link: RedisLink;
  readonly #subscriber: Subscriber;
  readonly #blocking: BlockingWaits;
  readonly #log: Log;
  readonly #asleep = new Set<Sleeper>();
  /** unasked: nobody waited yet; refused: the server does not do tracking for us. */
  #tracking: "unasked" | "starting" | "on" | "refused" = "unasked";
  #listenerId: string | null = null;
  #changes = 0;

  constructor(link: RedisLink, subscriber: Subscriber, blocking: BlockingWaits, log: Log) {
    this.#link = link;
    this.#subscriber = subscriber;
    this.#blocking = blocking;
    this.#log = log;
  }

  /** How consumers learn of messages at present; for logs and tests. */
  get mode(): "tracking" | "blocking" {
    return this.#tracking === "refused" ? "blocking" : "tracking";
  }

  /**
   * Makes sure that `sleeper` is woken when one of its lists holds a message. True: they are empty and it sleeps. False: one
   * is not empty, or the watch is not up yet and `wake` follows.
   */
  async sleep(sleeper: Sleeper): Promise<boolean> {
    if (this.#tracking === "refused") {
      this.#asleep.add(sleeper);
      this.#blocking.wait(sleeper);
      return true;
    }
    if (this.#tracking === "unasked") {
      this.#tracking = "starting";
      this.#subscriber.listen(this);
    }
    // The note comes over another connection: it may be here before the answer that it makes obsolete.
    const { tracking, changes } = this.#view();
    const found = await this.#link.call("EXISTS", [...sleeper.listKeys]);
    const now = this.#view();
    if (found !== 0 || changes !== now.changes || tracking !== now.tracking) return false;
    // Not watched yet: everybody is woken when the watch begins.
    this.#asleep.add(sleeper);
    return true;
  }

  forget(sleeper: Sleeper): void {
    this.#asleep.delete(sleeper);
    this.#blocking.forget(sleeper);
  }

  /** Wakes everybody: state was lost, or a note may have been. */
  wakeAll(): void {
    if (this.#asleep.size === 0) return;
    const woken = [...this.#asleep];
    this.#asleep.clear();
    for (const sleeper of woken) sleeper.wake();
  }

  async whenUp(): Promise<void> {
    if (this.#tracking === "refused") return;
    if (this.#listenerId !== null) await this.#track(this.#listenerId);
  }

  whenDown(): void {
    this.#asleep.clear();
    if (this.#tracking === "on") this.#tracking = "starting";
  }

  whenListening(id: string | null): void {
    if (this.#tracking === "refused") return;
    this.#listenerId = id;
    if (id === null) this.#refuse("the server does not let us listen to changed keys");
    // Also while the command connection is being set up; when there is none, `whenUp` follows.
    else this.#track(id).catch((error: unknown) => this.#log.debug({ err: error }, "tracking waits"));
  }

  whenDeaf(): void {
    this.#listenerId = null;
    if (this.#tracking !== "on") return;
    this.#tracking = "starting";
    // Until notes come again, the housekeeping looks after the sleepers.
    this.#changes += 1;
  }

  changed(): void {
    this.#changes += 1;
    this.wakeAll();
  }

  #view(): { tracking: string; changes: number } {
    return { tracking: this.#tracking, changes: this.#changes };
  }

  async #track(id: string): Promise<void> {
    try {
      await this.#link.call("CLIENT", ["TRACKING", "ON", "REDIRECT", id]);
    } catch (error) {
      if (error instanceof ConnectionLost) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      // The listening connection has gone as well; its successor brings a new id.
      if (this.#listenerId === id && !/does not exist/.test(reason)) this.#refuse(reason);
      return;
    }
    if (this.#listenerId !== id) return;
    this.#tracking = "on";
    // Whoever fell asleep before was not watched.
    this.wakeAll();
  }

  #refuse(reason: string): void {
    if (this.#tracking === "refused") return;
    this.#tracking = "refused";
    this.#log.info({ reason }, "waiting for messages with BLMOVE: CLIENT TRACKING is not available");
    this.wakeAll();
  }
}
