/** The clauses of `chord-counter.ts`, one test each, for every backend that counts. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import type { ChordCounter, ChordPart, GroupCodec, GroupStore } from "./chord-counter.ts";
import { contractCodec } from "./result-backend.contract.ts";

/** JSON under Celery's names. */
export function groupCodec(prefix = ""): GroupCodec {
  return {
    key: (groupId) => `${prefix}celery-taskset-meta-${groupId}`,
    encode: (value) => ({ body: JSON.stringify(value) }),
    decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
  };
}

export const countingCodec = (prefix = "") => ({ ...contractCodec(prefix), group: groupCodec(prefix) });

export interface Counting {
  readonly chords?: ChordCounter;
  readonly groups?: GroupStore;
  close(): Promise<void>;
}

/** `make` gives two clients of one store, whose claims live for `claimSeconds`. */
export function testChordCounter(name: string, make: () => Promise<{ ours: Counting; theirs: Counting }>): void {
  const open: Counting[] = [];
  afterEach(async () => {
    for (const backend of open.splice(0)) await backend.close();
  });
  async function two(): Promise<{ ours: ChordCounter; theirs: ChordCounter; groups: GroupStore; group: string }> {
    const { ours, theirs } = await make();
    open.push(ours, theirs);
    if (!ours.chords || !theirs.chords || !ours.groups) return expect.fail(`${name} does not count`);
    return { ours: ours.chords, theirs: theirs.chords, groups: ours.groups, group: randomUUID() };
  }
  const part = (index: number | null, result: unknown = index, state = "SUCCESS"): ChordPart => ({
    taskId: `task-${index}`,
    groupIndex: index,
    state,
    result,
  });

  describe(`${name} counts`, () => {
    test("and gives the claim to the one that returns the last part, with all parts by their index", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 3, header: null });
      expect(await ours.returned(group, part(2, { deep: [1, "é"] }))).toBeNull();
      expect(await theirs.returned(group, part(0, null, "FAILURE"))).toBeNull();
      const claim = await theirs.returned(group, part(1));
      expect(await claim?.collect()).toEqual({
        parts: [
          { taskId: "task-0", state: "FAILURE", result: null },
          { taskId: "task-1", state: "SUCCESS", result: 1 },
          { taskId: "task-2", state: "SUCCESS", result: { deep: [1, "é"] } },
        ],
      });
      expect(await claim?.extend(30)).toBe(true);
      expect(await claim?.done()).toBe(true);
    });

    test("a part that comes again once, with its first result, and of the two that bring it one may send", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 2, header: null });
      await ours.returned(group, part(0, "first"));
      expect(await theirs.returned(group, part(0, "second"))).toBeNull();
      const claim = await ours.returned(group, part(1));
      expect(claim).not.toBeNull();
      const again = await theirs.returned(group, part(1));
      expect(await claim?.collect()).toMatchObject({ parts: [{ result: "first" }, { result: 1 }] });
      expect([await claim?.extend(30), (await again?.extend(30)) ?? false].filter(Boolean)).toHaveLength(1);
    });

    test("nothing before the size is known, and nothing after the body was sent", async () => {
      const { ours, theirs, group } = await two();
      expect(await ours.returned(group, part(0))).toBeNull();
      await ours.start(group, { size: 1, header: null });
      const claim = await theirs.returned(group, part(0));
      await claim?.done();
      expect(await ours.returned(group, part(0))).toBeNull();
      expect(await ours.returned(group, part(1))).toBeNull();
    });

    test("one of two that return the last part at once", async () => {
      const { ours, theirs, group } = await two();
      for (let round = 0; round < 50; round++) {
        const id = `${group}-${round}`;
        await ours.start(id, { size: 2, header: null });
        const claims = await Promise.all([ours.returned(id, part(0)), theirs.returned(id, part(1))]);
        expect(claims.filter((claim) => claim !== null)).toHaveLength(1);
      }
    });

    test("parts without an index last, and as many as were added", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 1, header: null });
      await theirs.addParts(group, 1);
      expect(await ours.returned(group, part(null, "late"))).toBeNull();
      const claim = await theirs.returned(group, part(7));
      expect(await claim?.collect()).toMatchObject({ parts: [{ result: 7 }, { result: "late" }] });
    });

    test("parts of one index in the order of their bytes, and those twice that are there twice", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 5, header: null });
      const named = (taskId: string, groupIndex: number) => ({ taskId, groupIndex, state: "SUCCESS", result: taskId });
      await ours.returned(group, named("twin", 3));
      await theirs.returned(group, named("b", 1));
      await ours.returned(group, named("c", 1));
      await theirs.returned(group, named("a", 1));
      const claim = await theirs.returned(group, named("twin", 2));
      const collected = ["a", "b", "c", "twin", "twin"].map((taskId) => expect.objectContaining({ taskId }));
      expect(await claim?.collect()).toEqual({ parts: collected });
    });

    test("no more on a part that was added and could not be sent", async () => {
      const { ours, group } = await two();
      await ours.start(group, { size: 1, header: null });
      await ours.addParts(group, 2);
      await ours.addParts(group, -2);
      expect(await ours.returned(group, part(0))).not.toBeNull();
    });

    test("a chord that failed no more", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 1, header: null });
      const claim = await ours.returned(group, part(0));
      await claim?.failed();
      expect(await theirs.returned(group, part(0))).toBeNull();
      expect(await claim?.extend(30)).toBe(await claim?.extend(30));
    });

    test("a chord that was ended no more, whatever returns, and says when its body was sent before", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 2, header: null });
      await theirs.returned(group, part(0));
      expect(await ours.end(group)).toBe(true);
      for (const index of [1, 0, 2]) expect(await theirs.returned(group, part(index))).toBeNull();

      await ours.start(group, { size: 1, header: null });
      const claim = await theirs.returned(group, part(0));
      expect(await claim?.done()).toBe(true);
      expect(await ours.end(group)).toBe(false);
    });

    test("a claim that was given before the chord was ended", async () => {
      const { ours, theirs, group } = await two();
      await ours.start(group, { size: 1, header: null });
      const claim = await theirs.returned(group, part(0));
      expect(await ours.end(group)).toBe(true);
      expect(await claim?.extend(30)).toBe(false);
    });

    test("a group that is started again anew", async () => {
      const { ours, theirs, group } = await two();
      for (let run = 0; run < 2; run++) {
        await ours.start(group, { size: 1, header: null });
        const claim = await theirs.returned(group, part(0, run));
        expect(await claim?.collect()).toMatchObject({ parts: [{ result: run }] });
        expect(await claim?.done()).toBe(true);
      }
    });

    test("and hands the saved header to the claimer of a complex chord", async () => {
      const { ours, group } = await two();
      const header = [
        [group, null],
        [
          [["a", null], null],
          [["inner", null], [[["b", null], null]]],
        ],
      ] as const;
      await ours.start(group, { size: 1, header: [header[0], [...header[1]]] });
      const claim = await ours.returned(group, part(0));
      expect(await claim?.collect()).toEqual({ header });
    });
  });

  describe(`${name} keeps groups`, () => {
    test("until they are forgotten", async () => {
      const { groups, group } = await two();
      expect(await groups.restore(group)).toBeNull();
      await groups.save([[group, [["parent", null], null]], [[["a", null], null]]]);
      expect(await groups.restore(group)).toEqual([[group, [["parent", null], null]], [[["a", null], null]]]);
      await groups.forget(group);
      expect(await groups.restore(group)).toBeNull();
    });
  });
}
