import { afterEach, expect, test, vi } from "vitest";
import { StopSignals } from "./stop-signals.ts";

function setUp() {
  const exits: number[] = [];
  const stops: string[] = [];
  const clock = { now: 1_000 };
  const signals = new StopSignals(
    (code) => void exits.push(code),
    () => clock.now,
  );
  const attach = () => signals.attach({ stop: (mode, signal) => void stops.push(`${mode} ${signal}`) });
  const send = (...list: NodeJS.Signals[]) => {
    for (const signal of list) {
      clock.now += 1_000;
      signals.on(signal);
    }
  };
  return { exits, stops, clock, signals, attach, send };
}

afterEach(() => vi.unstubAllEnvs());

// wire: exit codes and stages of celery-behaviour 1.15; that a second SIGTERM is cold is ours.
test.each<[NodeJS.Signals[], string[], number[], number]>([
  [["SIGTERM"], ["warm SIGTERM"], [], 0],
  [["SIGINT"], ["warm SIGINT"], [], 1],
  [["SIGQUIT"], ["cold SIGQUIT"], [], 0],
  [["SIGINT", "SIGINT"], ["warm SIGINT", "cold SIGINT"], [], 1],
  [["SIGTERM", "SIGTERM"], ["warm SIGTERM", "cold SIGTERM"], [], 0],
  [["SIGTERM", "SIGQUIT"], ["warm SIGTERM", "cold SIGQUIT"], [], 0],
  [["SIGINT", "SIGQUIT", "SIGTERM"], ["warm SIGINT", "cold SIGQUIT"], [1], 1],
  [["SIGQUIT", "SIGQUIT"], ["cold SIGQUIT"], [0], 0],
])("%j: %j", (sent, expectedStops, expectedExits, code) => {
  const { stops, exits, signals, attach, send } = setUp();
  attach();
  send(...sent);
  expect(stops).toEqual(expectedStops);
  expect(exits).toEqual(expectedExits);
  expect(signals.exitCode).toBe(code);
});

test("ends at once while there is no worker yet", () => {
  const { exits, send } = setUp();
  send("SIGTERM");
  expect(exits).toEqual([0]);
});

test("REMAP_SIGTERM=SIGQUIT makes SIGTERM cold", () => {
  vi.stubEnv("REMAP_SIGTERM", "SIGQUIT");
  const { stops, attach, send } = setUp();
  attach();
  send("SIGTERM");
  expect(stops).toEqual(["cold SIGTERM"]);
});

test("takes the same signal twice within a moment for one: npm hands on what the terminal sent already", () => {
  const { stops, attach, send, clock, signals } = setUp();
  attach();
  send("SIGINT");
  clock.now += 10;
  signals.on("SIGINT");
  expect(stops).toEqual(["warm SIGINT"]);
  send("SIGINT");
  expect(stops).toEqual(["warm SIGINT", "cold SIGINT"]);
});
