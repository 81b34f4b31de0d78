/** Listening to events within one process: how it begins, ends, and what it survives. */
import { expect, test, vi } from "vitest";
import { Celery } from "../app.ts";
import type { ReceivedEvent } from "../events/receiver.ts";
import { silentLog } from "../runtime/log.ts";
import { waitFor } from "../testing/index.ts";

let hubs = 0;
const open = () => new Celery(`events-${++hubs}`, { broker: "memory://", log: { ...silentLog }, env: {} });
/** Nobody listens on it. */
const away = { broker: "amqp://guest:guest@127.0.0.1:9//", log: silentLog, env: {} };

test("closing the app ends what listens, streams that are read and such that are not", async () => {
  const app = open();
  const heard: string[] = [];
  await app.events.listen(({ type }) => heard.push(type));
  const read = await app.events.receive({ wakeup: false }).start();
  await app.events.receive({ wakeup: false }).start();
  app.events.send("tea-ready", {});
  const types: string[] = [];
  const reading = (async () => {
    for await (const { type } of read) types.push(type);
  })();
  await waitFor(() => types.length === 1 && heard.length === 1, { describe: "the event" });
  await app.close();
  await reading;
  expect([types, heard]).toEqual([["tea-ready"], ["tea-ready"]]);
  await expect(app.events.listen(() => undefined)).rejects.toThrow(/is closed/);
});

test("a signal ends a stream that nobody reads", async () => {
  const app = open();
  const stop = new AbortController();
  const stream = await app.events.receive({ signal: stop.signal, wakeup: false }).start();
  stop.abort();
  expect(await stream.next()).toEqual({ done: true, value: undefined });
  await app.close();
});

test.each(["stream", "listener"])("a %s is ended by its signal while the broker is away", async (kind) => {
  const app = new Celery("away", away);
  const stop = new AbortController();
  const begun =
    kind === "stream"
      ? app.events.receive({ signal: stop.signal }).start()
      : app.events.listen(() => undefined, { signal: stop.signal });
  // It is told before it settles, whether it is connecting or waits to try again.
  setImmediate(() => stop.abort(new Error("enough")));
  if (kind === "listener") await expect(begun).rejects.toThrow("enough");
  else expect(await (await app.events.receive({ signal: stop.signal })).next()).toMatchObject({ done: true });
  await Promise.allSettled([begun]);
  await app.close();
});

test("closing the app ends what still looks for its broker", async () => {
  const app = new Celery("away", away);
  const reading = app.events.receive().next();
  const listening = app.events.listen(() => undefined);
  await Promise.all([expect(listening).rejects.toThrow(/abort/), new Promise(setImmediate).then(() => app.close())]);
  expect(await reading).toEqual({ done: true, value: undefined });
});

test("a command is given up by its signal while the broker is away", async () => {
  const app = new Celery("away", away);
  const stop = new AbortController();
  const sent = [app.control.enableEvents({ signal: stop.signal }), app.control.ping({ signal: stop.signal })];
  setImmediate(() => stop.abort(new Error("enough")));
  for (const one of sent) await expect(one).rejects.toThrow("enough");
  await app.close();
});

test("many commands go under one signal without a warning of Node's", async () => {
  const app = open();
  const warned = vi.fn();
  process.on("warning", warned);
  const { signal } = new AbortController();
  const all = Array.from({ length: 30 }, () => app.control.ping({ signal, timeout: 0.05 }));
  expect((await Promise.all(all)).flat()).toEqual([]);
  await new Promise(setImmediate);
  process.off("warning", warned);
  expect(warned).not.toHaveBeenCalled();
  await app.close();
});

test("app.control.purge gives up a broker that stays away", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const app = new Celery("away", away);
  const purged = expect(app.control.purge()).rejects.toThrow("could not be reached within 10 seconds");
  await vi.advanceTimersByTimeAsync(10_001);
  vi.useRealTimers();
  await purged;
  await app.close();
});

test("a command that no broker took names the last reason", async () => {
  let refused: () => void = () => undefined;
  const warned = new Promise<void>((resolve) => {
    refused = resolve;
  });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const app = new Celery("away", { ...away, log: { ...silentLog, warn: () => refused() } });
  const asked = app.control.ping().catch((error: unknown) => error);
  await warned;
  await vi.advanceTimersByTimeAsync(10_001);
  vi.useRealTimers();
  expect(await asked).toMatchObject({
    message: expect.stringMatching(/could not be reached within 10 seconds: .*ECONNREFUSED/),
    cause: expect.any(Error),
  });
  await app.close();
});

test("handlers that fail later than they return are logged, and end nothing", async () => {
  const log = { ...silentLog, error: vi.fn() };
  const app = new Celery(`events-${++hubs}`, { broker: "memory://", log, env: {} });
  const handler = async ({ type }: ReceivedEvent) => {
    throw new TypeError(type);
  };
  await app.events.listen(handler);
  app.events.send("tea-ready", {});
  await waitFor(() => log.error.mock.calls.length === 1, { describe: "a line of the log" });
  expect(log.error.mock.calls[0]?.[0]).toMatchObject({ err: new TypeError("tea-ready") });
  await app.close();
});
