/** What every store of Mognet results promises; both the memory and the Redis store pass it. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isNotReadyValue } from "../../../protocol/mognet/exception.ts";
import { NOT_READY_VALUE } from "../../../protocol/mognet/refusals.ts";
import { finishedResult, type MognetResult, newMognetResult, startedResult } from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import { mognetValueOf } from "../../../protocol/mognet/value.ts";
import { ResultLost } from "../errors.ts";
import type { MognetStore } from "./mognet-store.ts";

const NOW = "2026-11-21T09:07:38.679014Z";

export interface StoreUnderTest {
  /** Two stores that see the same results. */
  open(): Promise<{ store: MognetStore; other: MognetStore }>;
}

async function collected(ids: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const id of ids) all.push(id);
  return all;
}

export function testMognetStore(name: string, { open }: StoreUnderTest): void {
  describe(`the contract of Mognet stores: ${name}`, () => {
    let store: MognetStore;
    let other: MognetStore;
    beforeEach(async () => {
      ({ store, other } = await open());
    });
    afterEach(async () => {
      await Promise.all([store.close(), other.close()]);
    });

    const pending = (parts: Partial<MognetResult> = {}): MognetResult =>
      newMognetResult({ id: randomUUID(), name: "shop.pay", created: NOW, requestKwargsRepr: "1, 'é'", ...parts });

    test("what was created is read, by others too, with its metadata and as its parent's child", async () => {
      const parent = pending();
      const child = pending({ parentId: parent.id });
      await store.create({ result: parent, metadata: { user: "zoë", n: [1, null, { k: true }] } });
      await store.create({ result: child });
      expect(await other.get(parent.id)).toEqual(parent);
      expect(await other.getMany([child.id, randomUUID(), parent.id])).toEqual([child, null, parent]);
      expect(await other.getMetadata(parent.id)).toEqual({ user: "zoë", n: [1, null, { k: true }] });
      expect(await other.getMetadata(child.id)).toEqual({});
      expect(await other.countChildren(parent.id)).toBe(1);
      expect(await collected(other.childIds(parent.id))).toEqual([child.id]);
    });

    test("what is not there is null, empty or undefined", async () => {
      const id = randomUUID();
      expect(await store.get(id)).toBeNull();
      expect(await store.getValue(id)).toBeNull();
      expect(await store.countChildren(id)).toBe(0);
      expect(await collected(store.childIds(id))).toEqual([]);
      expect(await store.state.get(id, "step")).toBeUndefined();
      expect(await store.state.pop(id, "step")).toBeUndefined();
    });

    test("metadata merges, keys of any name", async () => {
      const { id } = pending();
      await store.setMetadata(id, { a: 1, b: 2 });
      await other.setMetadata(id, { b: 3, ["__proto__"]: "x" });
      await other.setMetadata(id, {});
      await other.setMetadata(id, { a: undefined, c: undefined });
      expect(Object.entries(await store.getMetadata(id)).sort()).toEqual([
        ["__proto__", "x"],
        ["a", 1],
        ["b", 3],
      ]);
    });

    test("metadata may have thousands of keys", async () => {
      const { id } = pending();
      const many = Object.fromEntries(Array.from({ length: 9000 }, (_, at) => [`key-${at}`, at]));
      await store.setMetadata(id, many);
      expect(await other.getMetadata(id)).toEqual(many);
    });

    test("children are many, each once, and may be limited", async () => {
      const { id } = pending();
      const children = Array.from({ length: 1200 }, () => randomUUID());
      await store.addChildren(id, children);
      await store.addChildren(id, children.slice(0, 3));
      await store.addChildren(id, []);
      expect(await store.countChildren(id)).toBe(1200);
      expect((await collected(store.childIds(id))).sort()).toEqual([...children].sort());
      expect(await collected(store.childIds(id, { limit: 7 }))).toHaveLength(7);
    });

    test("a value is stored beside its result in one step, and read by anybody", async () => {
      const result = pending();
      await store.create({ result });
      const done = finishedResult(startedResult(result, "node-1", NOW), "SUCCESS", NOW);
      const value = mognetValueOf({ text: "ж".repeat(1000), big: 2n ** 70n });
      expect(await store.put({ result: done, value })).toEqual({ written: true });
      expect(await other.get(result.id)).toEqual(done);
      expect(await other.getValue(result.id)).toEqual({
        valueType: "builtins:dict",
        rawValue: { text: "ж".repeat(1000), big: 2n ** 70n },
      });
    });

    test("a result that nobody has touched is begun as it is read; any other is only read", async () => {
      const result = pending({ name: "é", requestKwargsRepr: null });
      const begin = { nodeId: "knoten-é", started: NOW };
      expect(await store.begin(result.id, begin)).toEqual({ begun: false, result: null });
      await store.create({ result });
      const started = startedResult(result, begin.nodeId, NOW);
      expect(await store.begin(result.id, begin)).toEqual({ begun: true, result: started });
      expect(await other.get(result.id)).toEqual(started);
      expect(await other.begin(result.id, { ...begin, nodeId: "another" })).toEqual({ begun: false, result: started });
      const again = pending({ numberOfStarts: 1, numberOfStops: 1 });
      await store.create({ result: again });
      expect(await store.begin(again.id, begin)).toEqual({ begun: false, result: again });
      await store.revoke(again.id, { finished: NOW });
      expect(await store.begin(again.id, begin)).toMatchObject({ begun: false, result: { state: "REVOKED" } });
    });

    test("an end that tells what it is written over leaves the same as one that does not", async () => {
      const condition = { states: MOGNET_OPEN_STATES, starts: 1 };
      const value = mognetValueOf([1, "é"]);
      const begun = async () => {
        const result = pending();
        await store.create({ result });
        await store.begin(result.id, { nodeId: "n", started: NOW });
        return startedResult(result, "n", NOW);
      };
      const over = await begun();
      const done = finishedResult(over, "SUCCESS", NOW);
      await store.state.set(over.id, "at", 3);
      expect(await store.put({ result: done, value, condition, over, clearState: true })).toEqual({ written: true });
      expect([await other.get(over.id), await other.getValue(over.id), await store.state.get(over.id, "at")]).toEqual([
        done,
        { valueType: "builtins:list", rawValue: [1, "é"] },
        undefined,
      ]);
      // Revoked meanwhile, begun anew, or gone.
      const revoked = await begun();
      const { result: current } = await other.revoke(revoked.id, { finished: NOW });
      const end = (of: MognetResult) => ({ result: finishedResult(of, "SUCCESS", NOW), value, condition, over: of });
      expect(await store.put(end(revoked))).toEqual({ written: false, current });
      expect(await store.getValue(revoked.id)).toEqual(NOT_READY_VALUE);
      const elsewhere = await begun();
      await other.put({ result: startedResult(elsewhere, "other", NOW) });
      expect(await store.put(end(elsewhere))).toMatchObject({ written: false, current: { nodeId: "other" } });
      const gone = await begun();
      await other.delete(gone.id);
      expect(await store.put(end(gone))).toEqual({ written: true });
      expect(await other.get(gone.id)).toEqual(finishedResult(gone, "SUCCESS", NOW));
    });

    test("the state of a task goes with its end, and stays when the end was not written", async () => {
      const result = pending();
      await store.create({ result });
      await store.state.set(result.id, "at", 3);
      const put = { result: finishedResult(result, "SUCCESS", NOW), clearState: true };
      expect(await store.put({ ...put, condition: { starts: 5 } })).toEqual({ written: false, current: result });
      expect(await store.state.get(result.id, "at")).toBe(3);
      expect(await store.put(put)).toEqual({ written: true });
      await expect.poll(() => other.state.get(result.id, "at"), { timeout: 5_000 }).toBeUndefined();
    });

    test("a late finish does not overwrite REVOKED, and says what is there", async () => {
      const result = pending();
      await store.create({ result });
      const running = startedResult(result, "node-1", NOW);
      await store.put({ result: running, condition: { states: ["PENDING", "SUSPENDED", "RUNNING"], exists: true } });
      const { result: revoked } = await other.revoke(result.id, { finished: NOW });
      expect(revoked).toEqual({ ...running, state: "REVOKED", finished: NOW, numberOfStops: 1 });
      const late = await store.put({
        result: finishedResult(running, "SUCCESS", NOW),
        value: mognetValueOf("late"),
        condition: { states: ["RUNNING", "SUSPENDED"] },
      });
      expect(late).toEqual({ written: false, current: revoked });
      expect(await store.get(result.id)).toEqual(revoked);
      const value = await store.getValue(result.id);
      expect(value !== null && isNotReadyValue(value)).toBe(true);
    });

    test("each condition is looked at: states, starts, node, existence", async () => {
      const result = startedResult(pending(), 'node "é"', NOW);
      const put = (condition: Parameters<MognetStore["put"]>[0]["condition"]) =>
        store.put({ result, ...(condition && { condition }) });
      expect(await put({ exists: true })).toEqual({ written: false, current: null });
      expect(await put({ states: ["PENDING"], starts: 9, nodeId: "other" })).toEqual({ written: true });
      expect(await put({ starts: 0 })).toEqual({ written: false, current: result });
      expect(await put({ nodeId: "node" })).toEqual({ written: false, current: result });
      expect(await put({ states: ["PENDING", "SUSPENDED"] })).toEqual({ written: false, current: result });
      expect(await put({ states: ["RUNNING"], starts: 1, nodeId: 'node "é"', exists: true })).toEqual({
        written: true,
      });
    });

    test("of many who claim a result at once, one wins", async () => {
      const result = pending();
      await store.create({ result });
      const claims = await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          (at % 2 === 0 ? store : other).put({
            result: startedResult(result, `node-${at}`, NOW),
            condition: { states: ["PENDING"] },
          }),
        ),
      );
      expect(claims.filter(({ written }) => written)).toHaveLength(1);
    });

    test("a revoke leaves what is done, unless forced; an unknown id becomes a tombstone with a placeholder", async () => {
      const done = finishedResult(pending(), "SUCCESS", NOW);
      await store.create({ result: done });
      expect(await store.revoke(done.id, { finished: NOW })).toEqual({ result: done, revoked: false, created: false });
      const forced = await store.revoke(done.id, { finished: "2026-11-21T09:07:39Z", force: true });
      expect(forced.revoked).toBe(true);
      expect(await other.get(done.id)).toEqual({
        ...done,
        state: "REVOKED",
        finished: "2026-11-21T09:07:39Z",
        numberOfStops: 2,
      });
      const id = randomUUID();
      const unknown = await store.revoke(id, { finished: NOW });
      expect(unknown).toEqual({
        result: newMognetResult({ id, state: "REVOKED", finished: NOW, numberOfStops: 1 }),
        revoked: true,
        created: true,
      });
      const value = await other.getValue(id);
      expect(value !== null && isNotReadyValue(value)).toBe(true);
    });

    test("getOrCreate gives what is there, and makes a pending one with a placeholder value that no real value loses to", async () => {
      const result = pending();
      await store.create({ result });
      await store.setValue(result.id, mognetValueOf(3));
      expect(await store.getOrCreate(result.id)).toEqual(result);
      expect(await store.getValue(result.id)).toEqual({ valueType: "builtins:int", rawValue: 3 });
      const id = randomUUID();
      expect(await store.getOrCreate(id)).toEqual(newMognetResult({ id }));
      expect(await other.get(id)).toEqual(newMognetResult({ id }));
    });

    test("a wait resolves when the result is done, whoever wrote it, and brings the value if asked", async () => {
      const result = pending();
      await store.create({ result });
      const seen: string[] = [];
      const wait = store.waitFor(result.id, { value: true, onUpdate: ({ state }) => seen.push(state) });
      const plain = store.waitFor(result.id);
      const running = startedResult(result, "node-1", NOW);
      await other.put({ result: running });
      await expect.poll(() => seen.at(-1)).toBe("RUNNING");
      const done = finishedResult(running, "SUCCESS", NOW);
      await other.put({ result: done, value: mognetValueOf([1, 2]) });
      expect(await wait).toEqual({ result: done, value: { valueType: "builtins:list", rawValue: [1, 2] } });
      expect(await plain).toEqual({ result: done, value: null });
      expect((await store.waitFor(result.id, { value: true })).value?.rawValue).toEqual([1, 2]);
    });

    test("hundreds of waits of both stores end", async () => {
      const results = Array.from({ length: 300 }, () => pending());
      await Promise.all(results.map((result) => store.create({ result })));
      const waits = results.map(({ id }, at) => (at % 2 === 0 ? store : other).waitFor(id, { value: true }));
      for (const [at, result] of results.entries()) {
        void other.put({ result: finishedResult(result, "SUCCESS", NOW), value: mognetValueOf(at) });
      }
      const outcomes = await Promise.all(waits);
      expect(outcomes.map(({ value }) => value?.rawValue)).toEqual(results.map((_, at) => at));
    });

    test("a wait for what is not there, or vanishes, is rejected with ResultLost", async () => {
      await expect(store.waitFor(randomUUID())).rejects.toBeInstanceOf(ResultLost);
      const result = pending();
      await store.create({ result });
      const wait = store.waitFor(result.id);
      const rejected = expect(wait).rejects.toBeInstanceOf(ResultLost);
      await other.delete(result.id);
      await rejected;
    });

    test("a wait ends with its signal's reason, and with the store", async () => {
      const result = pending();
      await store.create({ result });
      const controller = new AbortController();
      const aborted = expect(store.waitFor(result.id, { signal: controller.signal })).rejects.toBe("enough");
      controller.abort("enough");
      await aborted;
      await expect(store.waitFor(result.id, { signal: controller.signal })).rejects.toBe("enough");
      const closed = expect(store.waitFor(result.id)).rejects.toBeInstanceOf(ResultLost);
      await store.close();
      await closed;
      await expect(store.waitFor(result.id)).rejects.toBeInstanceOf(ResultLost);
      await expect(store.put({ result })).rejects.toMatchObject({ code: "BACKEND_STORE" });
    });

    test("deleting takes the descendants along, unless told not to, and circles end", async () => {
      const [root, child, grandchild] = [pending(), pending(), pending()];
      for (const result of [root, child, grandchild]) await store.create({ result, metadata: { a: 1 } });
      await store.addChildren(root.id, [child.id]);
      await store.addChildren(child.id, [grandchild.id]);
      await store.addChildren(grandchild.id, [root.id]);
      await store.setTtl(root.id, 1000);
      await store.delete(child.id, { includeChildren: false });
      expect(await store.getMany([root.id, child.id, grandchild.id])).toEqual([root, null, grandchild]);
      await store.addChildren(child.id, [grandchild.id]);
      await store.delete(root.id);
      expect(await store.getMany([root.id, child.id, grandchild.id])).toEqual([null, null, null]);
      expect(await store.getMetadata(grandchild.id)).toEqual({});
      expect(await store.countChildren(grandchild.id)).toBe(0);
    });

    test("state is kept per task and key, popped once and cleared whole", async () => {
      const { id } = pending();
      await store.state.set(id, "step", { n: 1, at: [1.5, "é", null] });
      await store.state.set(id, "__proto__", 2);
      expect(await other.state.get(id, "step")).toEqual({ n: 1, at: [1.5, "é", null] });
      expect(await other.state.pop(id, "step")).toEqual({ n: 1, at: [1.5, "é", null] });
      expect(await store.state.pop(id, "step")).toBeUndefined();
      expect(await store.state.get(id, "__proto__")).toBe(2);
      await other.state.clear(id);
      expect(await store.state.get(id, "__proto__")).toBeUndefined();
    });

    test("what is given out cannot be used to change what is stored", async () => {
      const result = pending();
      await store.create({ result });
      const found = await store.get(result.id);
      if (found !== null) found.state = "SUCCESS";
      result.name = "changed";
      expect(await store.get(result.id)).toMatchObject({ state: "PENDING", name: "shop.pay" });
    });

    test("a value without a form in JSON is refused, and nothing is written", async () => {
      const result = pending();
      await store.create({ result });
      const done = finishedResult(result, "SUCCESS", NOW);
      const unencodable = mognetValueOf(Uint8Array.of(0xff));
      await expect(store.put({ result: done, value: unencodable })).rejects.toMatchObject({ code: "ENCODE" });
      expect(await store.get(result.id)).toEqual(result);
    });
  });
}
