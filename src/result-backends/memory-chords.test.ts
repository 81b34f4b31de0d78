import { expect, test } from "vitest";
import { countingCodec, groupCodec, testChordCounter } from "./chord-counter.contract.ts";
import { createMemoryBackend, MemoryHub } from "./memory.ts";
import { MemoryChordHub, MemoryChords } from "./memory-chords.ts";

testChordCounter("memory", async () => {
  const hub = new MemoryHub();
  const codec = countingCodec();
  return { ours: createMemoryBackend({ codec, hub }), theirs: createMemoryBackend({ codec, hub }) };
});

test("a chord that takes long outlives any number of others that are done", async () => {
  const chords = new MemoryChords({ hub: new MemoryChordHub(), codec: groupCodec(), max: 10 });
  const part = (taskId: string) => ({ taskId, groupIndex: null, state: "SUCCESS", result: taskId });
  await chords.start("long", { size: 2, header: null });
  await chords.returned("long", part("first"));
  for (let count = 0; count < 50; count++) {
    await chords.start(`short-${count}`, { size: 1, header: null });
    const claim = await chords.returned(`short-${count}`, part("only"));
    expect(await claim?.done()).toBe(true);
  }
  expect(await chords.returned("short-49", part("only"))).toBeNull();
  expect(await chords.returned("long", part("second"))).not.toBeNull();
});
