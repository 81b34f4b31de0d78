import { countingCodec, testChordCounter } from "./chord-counter.contract.ts";
import { createMemoryBackend, MemoryHub } from "./memory.ts";

testChordCounter("memory", async () => {
  const hub = new MemoryHub();
  const codec = countingCodec();
  return { ours: createMemoryBackend({ codec, hub }), theirs: createMemoryBackend({ codec, hub }) };
});
