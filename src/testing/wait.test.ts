import { expect, test } from "vitest";
import { WaitTimeout } from "./errors.ts";
import { endsWithin, pause, testSignal, waitFor, within } from "./wait.ts";

test("waitFor resolves with the first answer that is there, however often it was not", async () => {
  const answers: (undefined | null | false | number)[] = [undefined, null, false, 0];
  expect(await waitFor(() => answers.shift(), { interval: 1 })).toBe(0);
});

test("waitFor takes errors as not yet, and names what it waited for and the last error when time is up", async () => {
  const wait = waitFor(() => Promise.reject(new TypeError("no leaves")), { timeout: 20, describe: "a tree" });
  await expect(wait).rejects.toThrow(/20 ms for a tree .*no leaves/);
  await expect(wait).rejects.toBeInstanceOf(WaitTimeout);
});

test("waitFor and pause end at once when their signal aborts", async () => {
  const signal = AbortSignal.abort(new RangeError("enough"));
  await expect(pause(60_000, signal)).rejects.toThrow("enough");
  await expect(waitFor(() => undefined, { signal, timeout: 60_000 })).rejects.toThrow("enough");
});

test("within passes a value on, and rejects when it comes too late", async () => {
  expect(await within(Promise.resolve(7), 1_000, "seven")).toBe(7);
  await expect(within(new Promise(() => undefined), 10, "nothing")).rejects.toThrow("nothing");
  expect(await endsWithin(new Promise(() => undefined), 10)).toBe(false);
});

test("a signal keeps what happened before anyone asked, in order", async () => {
  const told = testSignal<number>("numbers");
  told.emit(1);
  told.emit(2);
  expect(await told.next()).toBe(1);
  const later = told.take(2);
  told.emit(3);
  expect(await later).toEqual([2, 3]);
  expect(told.all).toEqual([1, 2, 3]);
});

test("a wait that ended takes no later occurrence away from the next one", async () => {
  const told = testSignal<string>("a word");
  await expect(told.next(5)).rejects.toThrow("a word");
  told.emit("late");
  expect(await told.next()).toBe("late");
});
