/** Slots: whoever waits is told in turn, and nobody holds more than there are. */
import { expect, test } from "vitest";
import { Slots, type SlotUser } from "./slots.ts";

class User implements SlotUser {
  wants = 0;
  has = 0;
  readonly #slots: Slots;
  constructor(slots: Slots) {
    this.#slots = slots;
  }
  onSlotFree(): void {
    while (this.wants > 0 && this.#slots.tryTake(this)) {
      this.wants--;
      this.has++;
    }
  }
  ask(count: number): void {
    this.wants += count;
    this.onSlotFree();
  }
  end(): void {
    this.has--;
    this.#slots.give();
  }
}

test("a freed slot goes to who waits longest", () => {
  const slots = new Slots(2);
  const [a, b] = [new User(slots), new User(slots)];
  a.ask(5);
  b.ask(2);
  expect([a.has, b.has]).toEqual([2, 0]);
  a.end();
  expect([a.has, b.has, slots.taken]).toEqual([2, 0, 2]);
  a.end();
  expect([a.has, b.has]).toEqual([1, 1]);
  b.end();
  expect([a.has, b.has, slots.taken]).toEqual([2, 0, 2]);
});

test("who wants none any more is not asked, and does not keep others waiting", () => {
  const slots = new Slots(1);
  const [a, b] = [new User(slots), new User(slots)];
  a.ask(1);
  b.ask(1);
  b.wants = 0;
  a.wants = 1;
  expect(slots.tryTake(a)).toBe(false);
  a.end();
  expect([a.has, slots.taken]).toEqual([1, 1]);
});

test("a larger limit lets those in who wait, a smaller one takes nobody's place away", () => {
  const slots = new Slots(1);
  const [a, b] = [new User(slots), new User(slots)];
  a.ask(2);
  b.ask(2);
  slots.resize(3);
  expect([a.has, b.has, slots.limit]).toEqual([2, 1, 3]);
  slots.resize(1);
  expect(slots.taken).toBe(3);
  a.end();
  a.end();
  expect([a.has, b.has]).toEqual([0, 1]);
  b.end();
  expect([b.has, slots.taken]).toEqual([1, 1]);
});
