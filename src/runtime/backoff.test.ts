import { expect, test, vi } from "vitest";
import { pause } from "./backoff.ts";

test("many pauses under one signal are one listener on it, and end with it", async () => {
  const controller = new AbortController();
  const add = vi.spyOn(controller.signal, "addEventListener");
  const pauses = Array.from({ length: 50 }, () => pause(60_000, controller.signal));
  expect(add).toHaveBeenCalledTimes(1);
  controller.abort();
  await Promise.all(pauses);
});

test("a pause ends by itself", async () => {
  await pause(1, new AbortController().signal);
  await pause(60_000, AbortSignal.abort());
});
