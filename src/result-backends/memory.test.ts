import { expect, test } from "vitest";
import { createMemoryBackend, MemoryHub } from "./memory.ts";
import { contractCodec, testResultBackend } from "./result-backend.contract.ts";

testResultBackend({
  name: "memory",
  async make() {
    const hub = new MemoryHub();
    const codec = contractCodec();
    return { ours: createMemoryBackend({ codec, hub }), theirs: createMemoryBackend({ codec, hub }) };
  },
});

test("the record stored longest ago makes room when there are too many", async () => {
  const hub = new MemoryHub();
  const backend = createMemoryBackend({ codec: contractCodec(), hub, maxRecords: 3 });
  await backend.store("a", { status: "STARTED" });
  await backend.store("b", { status: "SUCCESS" });
  await backend.store("c", { status: "SUCCESS" });
  await backend.store("a", { status: "SUCCESS" });
  await backend.store("d", { status: "SUCCESS" });
  expect(await backend.get("b")).toBeNull();
  expect((await backend.get("a"))?.status).toBe("SUCCESS");
  expect(hub.records.size).toBe(3);
  await backend.close();
});

test("an expired record is gone and may be written anew", async () => {
  const backend = createMemoryBackend({ codec: contractCodec("", 0) });
  await backend.store("a", { status: "SUCCESS", value: 1 });
  expect(await backend.get("a")).toBeNull();
  await backend.store("a", { status: "FAILURE", value: 2 });
  expect(await backend.get("a")).toBeNull();
  await backend.close();
});

test("a stored record cannot be changed by who stored or who read it", async () => {
  const backend = createMemoryBackend({ codec: contractCodec() });
  const value = [1];
  await backend.store("a", { status: "SUCCESS", value });
  value.push(2);
  const read = await backend.get("a");
  if (Array.isArray(read?.value)) read.value.push(3);
  expect((await backend.get("a"))?.value).toEqual([1]);
  await backend.close();
});

test("a closed backend no longer listens to its hub", async () => {
  const hub = new MemoryHub();
  const backend = createMemoryBackend({ codec: contractCodec(), hub });
  expect(hub.listeners.size).toBe(1);
  await backend.close();
  expect(hub.listeners.size).toBe(0);
});
