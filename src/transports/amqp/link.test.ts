import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../runtime/log.ts";
import { Link } from "./link.ts";
import { parseAmqpUrl } from "./urls.ts";

/** A connection as far as a link sees one. */
class FakeConnection {
  readonly url = "amqp://fake";
  readonly outbox = { unsent: 0 };
  readonly ended: Promise<Error>;
  pendingCalls = 0;
  lastReceived = performance.now();
  blocked = false;
  over = false;
  onBlocked: unknown = null;
  kill: (error: Error) => void = () => undefined;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.kill = (error) => {
        this.over = true;
        resolve(error);
      };
    });
  }

  async close(): Promise<void> {
    this.kill(new TypeError("closed"));
  }
}

const opened = vi.hoisted((): unknown[] => []);
vi.mock("./connection.ts", () => ({
  openConnection: async () => {
    const connection = new FakeConnection();
    opened.push(connection);
    return connection;
  },
}));

function latest(): FakeConnection {
  const connection = opened.at(-1);
  if (!(connection instanceof FakeConnection)) throw new TypeError("nothing was opened");
  return connection;
}

const HOUR_MS = 3_600_000;
const links: Link[] = [];
beforeEach(() => void vi.useFakeTimers());
afterEach(async () => {
  for (const link of links.splice(0)) await link.close(async () => undefined, 0);
  opened.length = 0;
  vi.useRealTimers();
});

async function open() {
  const lost: string[] = [];
  const delays: number[] = [];
  const link = new Link(
    {
      urls: [parseAmqpUrl("amqp://localhost//")],
      failover: "round-robin",
      backoff: { initialMs: 100, maxMs: 10_000, random: () => 1 },
      stallMs: 30_000,
      events: { onLost: (error) => lost.push(error.message), onRetry: (_error, delayMs) => delays.push(delayMs) },
      log: silentLog,
      timeoutMs: 1_000,
      heartbeatS: 0,
      clientName: "test",
      loginMethod: "PLAIN",
      maxBodyBytes: 1_000,
    },
    { setUp: async () => undefined, onDown: () => undefined, onRefused: () => undefined, owed: () => false },
  );
  links.push(link);
  await link.connect();
  return { lost, delays };
}

test("a connection that owes an answer is ended after thirty silent seconds, wherever the clock is set meanwhile", async () => {
  const { lost } = await open();
  const connection = latest();
  connection.pendingCalls = 1;
  await vi.advanceTimersByTimeAsync(12_000);
  vi.setSystemTime(Date.now() + HOUR_MS);
  await vi.advanceTimersByTimeAsync(12_000);
  expect(lost).toEqual([]);
  connection.lastReceived = performance.now();
  vi.setSystemTime(Date.now() - 2 * HOUR_MS);
  await vi.advanceTimersByTimeAsync(24_000);
  expect(lost).toEqual([]);
  await vi.advanceTimersByTimeAsync(12_000);
  expect(lost).toEqual(["amqp://fake has been silent for 30000 ms and owes an answer"]);
});

test("the backoff begins small after a connection that stood for a while, not after one during which the clock was set", async () => {
  const { delays } = await open();
  const lose = async (afterMs: number) => {
    await vi.advanceTimersByTimeAsync(afterMs);
    vi.setSystemTime(Date.now() + HOUR_MS);
    latest().kill(new TypeError("lost"));
    await vi.advanceTimersByTimeAsync(2_000);
  };
  for (const afterMs of [0, 0, 0, 6_000]) await lose(afterMs);
  expect(delays).toEqual([100, 200, 400, 100]);
});
