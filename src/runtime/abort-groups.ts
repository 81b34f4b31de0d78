/** Thousands of acts under one abort signal, with one listener: Node warns of more than ten, and removing one is a search. */
import type { Cancellation } from "./cancellation.ts";

export interface Abortable {
  onAbort(reason?: unknown): void;
}

export class AbortGroups {
  readonly #groups = new Map<Cancellation, Group>();

  join(signal: Cancellation, member: Abortable): void {
    let group = this.#groups.get(signal);
    if (!group) {
      group = new Group(signal, this.#groups);
      this.#groups.set(signal, group);
    }
    group.members.add(member);
  }

  leave(signal: Cancellation, member: Abortable): void {
    const group = this.#groups.get(signal);
    if (!group?.members.delete(member) || group.members.size > 0) return;
    this.#groups.delete(signal);
    signal.removeEventListener("abort", group);
  }
}

class Group {
  readonly members = new Set<Abortable>();
  readonly #signal: Cancellation;
  readonly #groups: Map<Cancellation, Group>;

  constructor(signal: Cancellation, groups: Map<Cancellation, Group>) {
    this.#signal = signal;
    this.#groups = groups;
    signal.addEventListener("abort", this, { once: true });
  }

  handleEvent(): void {
    this.#groups.delete(this.#signal);
    for (const member of [...this.members]) member.onAbort(this.#signal.reason);
  }
}
