/**
 * How many task bodies run at a time in one worker, whichever protocol started them. Who finds no slot is told when one is free, each
 * in turn; a task that waits for its children gives its slot away and asks for one again.
 */

/** Asks again (`tryTake`) for as long as it has work. */
export interface SlotUser {
  onSlotFree(): void;
}

export class Slots {
  #limit: number;
  #taken = 0;
  readonly #waiting = new Set<SlotUser>();
  #waking = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** `Infinity`: no limit of its own. */
  get limit(): number {
    return this.#limit;
  }

  get taken(): number {
    return this.#taken;
  }

  /** False: none is free, and `user` will hear of the next. */
  tryTake(user: SlotUser): boolean {
    if (this.#taken < this.#limit) {
      this.#taken++;
      return true;
    }
    this.#waiting.add(user);
    return false;
  }

  give(): void {
    this.#taken--;
    if (this.#waiting.size > 0) this.#wake();
  }

  /** Those that are taken stay so; above a smaller limit none is given until enough are free. */
  resize(limit: number): void {
    this.#limit = limit;
    if (this.#waiting.size > 0) this.#wake();
  }

  /** Wants none any more. */
  leave(user: SlotUser): void {
    this.#waiting.delete(user);
  }

  #wake(): void {
    if (this.#waking) return;
    this.#waking = true;
    try {
      for (const user of this.#waiting) {
        if (this.#taken >= this.#limit) return;
        // It comes back to the end of the line when it wants more than there is.
        this.#waiting.delete(user);
        user.onSlotFree();
      }
    } finally {
      this.#waking = false;
    }
  }
}
