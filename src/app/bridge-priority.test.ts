import { expect, test } from "vitest";
import { celeryPriority, mognetPriority } from "./bridge-priority.ts";

const upTo = (most: number) => Array.from({ length: most + 1 }, (_, at) => at);

test("what nobody has chosen stays so, in both directions and on both brokers", () => {
  for (const urgent of ["highest", "lowest"] as const) {
    expect(celeryPriority(5, urgent)).toBeNull();
    expect([mognetPriority(null, urgent), mognetPriority(0, urgent)]).toEqual([5, 5]);
  }
});

test("on RabbitMQ 6 to 10 are the same number on both sides, and the order is kept", () => {
  expect(upTo(10).map((priority) => celeryPriority(priority, "highest"))).toEqual([
    null,
    null,
    null,
    null,
    null,
    null,
    6,
    7,
    8,
    9,
    10,
  ]);
  expect(upTo(11).map((priority) => mognetPriority(priority, "highest"))).toEqual([
    5, 6, 6, 6, 6, 6, 6, 7, 8, 9, 10, 10,
  ]);
});

test("on Redis less is sooner, and the order is kept", () => {
  expect(upTo(6).map((priority) => celeryPriority(priority, "lowest"))).toEqual([9, 7, 5, 4, 2, null, null]);
  expect(upTo(9).map((priority) => mognetPriority(priority, "lowest"))).toEqual([5, 4, 3, 3, 2, 2, 1, 1, 0, 0]);
});
