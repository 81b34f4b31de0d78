import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { newMognetResult } from "../../../protocol/mognet/result.ts";
import { createMemoryMognetStore, MognetMemoryHub } from "./memory-store.ts";
import { testMognetStore } from "./mognet-store.contract.ts";

testMognetStore("memory", {
  async open() {
    const hub = new MognetMemoryHub();
    return { store: createMemoryMognetStore({ hub }), other: createMemoryMognetStore({ hub }) };
  },
});

describe("the memory store", () => {
  test("is bounded: the result written longest ago makes room, with all that belongs to it", async () => {
    const hub = new MognetMemoryHub();
    const store = createMemoryMognetStore({ hub, maxResults: 3 });
    const ids = Array.from({ length: 5 }, () => randomUUID());
    for (const id of ids) {
      await store.create({ result: newMognetResult({ id }), metadata: { a: 1 } });
      await store.state.set(id, "k", 1);
    }
    expect((await store.getMany(ids)).map((found) => found !== null)).toEqual([false, false, true, true, true]);
    expect([hub.metadata.size, hub.states.size]).toEqual([3, 3]);
  });

  test("stores that name one hub share it", async () => {
    const hub = randomUUID();
    const id = randomUUID();
    await createMemoryMognetStore({ hub }).create({ result: newMognetResult({ id }) });
    expect(await createMemoryMognetStore({ hub }).get(id)).not.toBeNull();
    expect(await createMemoryMognetStore().get(id)).toBeNull();
  });

  test("what has outlived its time is gone", async () => {
    const store = createMemoryMognetStore();
    const id = randomUUID();
    await store.create({ result: newMognetResult({ id }) });
    await store.setTtl(id, 0);
    expect(await store.get(id)).toBeNull();
  });
});
