import { setImmediate as turn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { createMemoryBackend } from "../result-backends/memory.ts";
import "../runtime/bytes.ts";
import { newId } from "../runtime/ids.ts";
import { ErrorRegistry } from "./remote-errors.ts";
import { Results } from "./results.ts";

function client() {
  const backend = createMemoryBackend({ codec: celeryRecordCodec() });
  const watch = vi.spyOn(backend, "watch");
  const results = new Results({ backend, errors: new ErrorRegistry(), validate: true, lostAfterMs: null, ids: newId });
  const { anticipation } = results;
  if (anticipation === null) throw new TypeError("a backend is there");
  return { backend, watch, results, anticipation };
}

const done = (taskId: string): ResultMeta => ({
  status: "SUCCESS",
  result: 1,
  exception: null,
  traceback: null,
  children: [],
  dateDone: null,
  taskId,
});

test("a client that never awaits is never subscribed", () => {
  const { anticipation, watch } = client();
  for (let index = 0; index < 10; index++) anticipation.expect(`t${index}`);
  expect(watch).not.toHaveBeenCalled();
});

test("once a result was awaited, the next is listened for before it is asked for", async () => {
  const { backend, anticipation, results, watch } = client();
  await backend.store("first", done("first"));
  await results.wait("first", {});
  anticipation.expect("second");
  await backend.store("second", done("second"));
  await turn();
  const calls = watch.mock.calls.length;
  expect((await results.wait("second", { timeout: 1000 })).taskId).toBe("second");
  expect(watch.mock.calls.length).toBe(calls);
});

test("results that nobody asks for end the habit and are let go", async () => {
  const { backend, anticipation, results, watch } = client();
  await backend.store("first", done("first"));
  await results.wait("first", {});
  for (let index = 0; index < 1000; index++) anticipation.expect(`t${index}`);
  expect(anticipation.size).toBe(0);
  expect(watch.mock.calls.length).toBeLessThanOrEqual(101);
});

test("timeout, abort and updates work as without it", async () => {
  const { backend, anticipation, results } = client();
  await backend.store("first", done("first"));
  await results.wait("first", {});
  anticipation.expect("slow");
  await expect(results.wait("slow", { timeout: 5 })).rejects.toThrow("no result of task slow within 5 ms");
  anticipation.expect("ended");
  await expect(results.wait("ended", { signal: AbortSignal.abort(new RangeError("mine")) })).rejects.toThrow("mine");
  anticipation.expect("told");
  const states: string[] = [];
  const waiting = results.wait("told", { onUpdate: (meta) => states.push(meta.status) });
  await turn();
  await backend.store("told", { ...done("told"), status: "STARTED" });
  await backend.store("told", done("told"));
  await waiting;
  expect(states).toEqual(["STARTED"]);
  results.close();
});

test("a client with the habit listens for the next task before it is sent, and only for a moment", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const { backend, anticipation, results, watch } = client();
    await backend.store("first", done("first"));
    await results.wait("first", {});
    anticipation.expect("second");
    anticipation.listenAhead();
    const calls = watch.mock.calls.length;
    const next = anticipation.newId();
    const record = anticipation.expect(next);
    expect(watch.mock.calls.length).toBe(calls);
    await backend.store(next, done(next));
    expect((await record)?.taskId).toBe(next);
    expect((await results.wait(next, {})).taskId).toBe(next);

    anticipation.listenAhead();
    const unused = watch.mock.calls.at(-1)?.[0];
    vi.advanceTimersByTime(1_000);
    expect(anticipation.newId()).not.toBe(unused);
    results.close();
    expect(anticipation.size).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test("many waits under one signal are one listener on it", async () => {
  const { results } = client();
  const controller = new AbortController();
  const add = vi.spyOn(controller.signal, "addEventListener");
  const waits = Array.from({ length: 50 }, (_, at) =>
    results.wait(`t${at}`, { signal: controller.signal, timeout: 60_000 }).catch((error: unknown) => error),
  );
  expect(add).toHaveBeenCalledTimes(1);
  controller.abort(new RangeError("enough"));
  for (const error of await Promise.all(waits)) expect(error).toBeInstanceOf(RangeError);
  results.close();
});
