import { expect, test, vi } from "vitest";
import { TimerHeap } from "../runtime/timer-heap.ts";
import { Heart } from "./heart.ts";

test("beats while the broker is there, and stores up no beats of the time when it is not", async () => {
  vi.useFakeTimers();
  const timers = new TimerHeap();
  try {
    const sent: string[] = [];
    const dispatcher = {
      connected: true,
      refreshOffset: () => undefined,
      send: (type: string) => void sent.push(type),
    };
    const load = () => ({ active: 0, processed: 0 });
    const heart = new Heart({ dispatcher, timers, interval: 2, load, version: "1" });
    heart.start();
    await vi.advanceTimersByTimeAsync(4_100);
    expect(sent.splice(0)).toEqual(["worker-online", "worker-heartbeat", "worker-heartbeat"]);
    dispatcher.connected = false;
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(sent).toEqual([]);
    dispatcher.connected = true;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(sent).toEqual(["worker-heartbeat"]);
  } finally {
    timers.close();
    vi.useRealTimers();
  }
});
