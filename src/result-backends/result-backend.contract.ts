/**
 * The clauses of `result-backend.ts`, one test each. A backend's own test calls `testResultBackend` with a way to make two
 * clients of one store, and adds what only that store can do. Records are those of a small codec of the suite, so that the
 * contract says nothing of Celery.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { DecodeError, EncodeError, ImproperlyConfigured } from "../../protocol/errors.ts";
import { BackendGetMetaError, ResultLost } from "./errors.ts";
import type { RecordCodec, ResultBackend } from "./result-backend.ts";

export interface ContractRecord {
  status: string;
  value?: unknown;
}

const ready = new Set(["SUCCESS", "FAILURE", "REVOKED"]);

/** JSON in Python's spelling with `status` first, named as Celery names results; `prefix` keeps tests of one store apart. */
export function contractCodec(prefix = "", ttlSeconds: number | null = 3600): RecordCodec<ContractRecord> {
  return {
    key(id) {
      if (id === "") throw new ImproperlyConfigured("an empty task id");
      return `${prefix}celery-task-meta-${id}`;
    },
    encode: (id, record) => ({
      body: `{"status": "${record.status}", "value": ${jsonText(record.value ?? null)}, "task_id": ${JSON.stringify(id)}}`,
      contentType: "application/json",
      contentEncoding: "utf-8",
    }),
    decode(_id, bytes) {
      try {
        const parsed: { status?: unknown; value?: unknown } = JSON.parse(new TextDecoder().decode(bytes));
        if (typeof parsed?.status !== "string") throw new DecodeError("a record without status");
        return { status: parsed.status, value: parsed.value };
      } catch (cause) {
        throw new DecodeError("no record", { cause });
      }
    },
    isReady: (record) => ready.has(record.status),
    isFinal: (record) => record.status === "SUCCESS",
    finalPrefix: '{"status": "SUCCESS"',
    ttl: () => ttlSeconds,
  };
}

function jsonText(value: unknown): string {
  if (typeof value === "function") throw new EncodeError("a function has no JSON form");
  return JSON.stringify(value);
}

export interface BackendUnderTest {
  /** Two clients of one store, as two processes would have. */
  ours: ResultBackend<ContractRecord>;
  theirs: ResultBackend<ContractRecord>;
  /** Makes the store unreachable for both, and reachable again. */
  goAway?(): Promise<void>;
  comeBack?(): Promise<void>;
  /** Waits, subscriptions and the like that the client still holds: 0 when nothing is awaited. */
  leftovers?(): number;
  /** Called after both clients are closed. */
  dispose?(): Promise<void>;
}

export interface ContractOptions {
  name: string;
  make(): Promise<BackendUnderTest>;
  can?: {
    /** Every non-ready record reaches `onUpdate`; otherwise one that was overwritten at once may be skipped. @default true */
    everyUpdate?: boolean;
  };
  /** Ids in the test of many waits. @default 5000 */
  many?: number;
}

/** Resolves as soon as `check` holds. Fails after `deadlineMs`. */
export async function until(check: () => boolean | Promise<boolean>, deadlineMs = 30_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await check())) {
    if (performance.now() > end) expect.fail(`not within ${deadlineMs} ms: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What keeps this process alive, counted by kind. */
function handles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (!kind.includes("Immediate") && !kind.includes("Tick")) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

let counter = 0;
const newId = () => `id-${process.pid}-${++counter}`;

export function testResultBackend({ name, make, can = {}, many = 5000 }: ContractOptions): void {
  describe(`result backend contract: ${name}`, () => {
    let open: BackendUnderTest | null = null;
    const start = async () => {
      open = await make();
      return open;
    };

    afterEach(async () => {
      const last = open;
      open = null;
      await last?.ours.close();
      await last?.theirs.close();
      await last?.dispose?.();
    });

    test("what was stored is read, and the other client reads it too", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      await ours.store(id, { status: "SUCCESS", value: [1, "two", null] });
      expect(await ours.get(id)).toEqual({ status: "SUCCESS", value: [1, "two", null] });
      expect(await theirs.get(id)).toEqual({ status: "SUCCESS", value: [1, "two", null] });
    });

    test("a task of which nothing is stored is null", async () => {
      const { ours } = await start();
      expect(await ours.get(newId())).toBeNull();
    });

    test("a watch resolves when the other client stores later", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      const waiting = ours.watch(id, {});
      await theirs.store(id, { status: "SUCCESS", value: 4 });
      expect(await waiting).toEqual({ status: "SUCCESS", value: 4 });
    });

    test("a watch resolves when the record was ready before", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      await theirs.store(id, { status: "FAILURE", value: "boom" });
      expect(await ours.watch(id, {})).toEqual({ status: "FAILURE", value: "boom" });
    });

    test("a watch that begins as its task is sent misses neither what is stored before it listens nor what comes after", async () => {
      const { ours, theirs } = await start();
      const [before, between, after] = [newId(), newId(), newId()];
      await theirs.store(before, { status: "SUCCESS", value: 1 });
      expect((await ours.watch(before, { unsent: () => false })).value).toBe(1);
      const waiting = ours.watch(after, { unsent: () => true });
      await theirs.store(between, { status: "SUCCESS", value: 2 });
      await ours.watch(between, {}); // by the answer to this it listens
      await theirs.store(after, { status: "SUCCESS", value: 3 });
      expect((await waiting).value).toBe(3);
    });

    test("two watches of one task both resolve", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      const both = Promise.all([ours.watch(id, {}), ours.watch(id, {})]);
      await theirs.store(id, { status: "SUCCESS", value: 1 });
      expect((await both).map((r) => r.value)).toEqual([1, 1]);
    });

    test("updates are seen in order and none after the end", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      const seen: unknown[] = [];
      const waiting = ours.watch(id, { onUpdate: (r) => seen.push(r.value) });
      for (let i = 0; i < 5; i++) {
        await theirs.store(id, { status: "PROGRESS", value: i });
        // The first may be read or pushed; once it was seen, whoever pushes every update is listened to.
        if (i === 0 || can.everyUpdate === false) await until(() => seen.at(-1) === i);
      }
      await theirs.store(id, { status: "SUCCESS", value: "done" });
      expect((await waiting).value).toBe("done");
      expect(seen.length).toBeGreaterThan(0);
      expect(seen).toEqual([...seen].sort());
      expect(seen).toEqual([...new Set(seen)]);
      if (can.everyUpdate !== false) expect(seen).toEqual([0, 1, 2, 3, 4]);
    });

    test("a watch that begins late sees the state that is there", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      await theirs.store(id, { status: "STARTED", value: "now" });
      const seen: unknown[] = [];
      const waiting = ours.watch(id, { onUpdate: (r) => seen.push(r.status) });
      await until(() => seen.length > 0);
      await theirs.store(id, { status: "SUCCESS" });
      await waiting;
      expect(seen).toEqual(["STARTED"]);
    });

    test("an error in onUpdate fails its own wait and no other", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      const mine = new RangeError("mine");
      const broken = ours.watch(id, {
        onUpdate: () => {
          throw mine;
        },
      });
      const whole = ours.watch(id, {});
      const settled = Promise.allSettled([broken]);
      await theirs.store(id, { status: "STARTED" });
      await expect(broken).rejects.toBe(mine);
      await settled;
      await theirs.store(id, { status: "SUCCESS" });
      expect((await whole).status).toBe("SUCCESS");
    });

    test("a stored SUCCESS is final, whoever writes after it", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      await ours.store(id, { status: "SUCCESS", value: 1 });
      await ours.store(id, { status: "FAILURE", value: 2 });
      await theirs.store(id, { status: "STARTED", value: 3 });
      await theirs.store(id, { status: "SUCCESS", value: 4 });
      expect(await ours.get(id)).toEqual({ status: "SUCCESS", value: 1 });
    });

    test("a stored FAILURE may be overwritten", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      await ours.store(id, { status: "FAILURE", value: 1 });
      await theirs.store(id, { status: "RETRY", value: 2 });
      expect((await ours.get(id))?.status).toBe("RETRY");
      await ours.store(id, { status: "SUCCESS", value: 3 });
      expect(await theirs.get(id)).toEqual({ status: "SUCCESS", value: 3 });
    });

    test(`${many} waits at once resolve and leave nothing behind`, async () => {
      const { ours, theirs, leftovers } = await start();
      const abort = new AbortController();
      const ids = Array.from({ length: many }, newId);
      // a third is ready before, a third while we subscribe, a third after
      const third = Math.floor(many / 3);
      await Promise.all(ids.slice(0, third).map((id, i) => theirs.store(id, { status: "SUCCESS", value: i })));
      const waits = ids.map((id) => ours.watch(id, { signal: abort.signal }));
      const middle = ids
        .slice(third, 2 * third)
        .map((id, i) => theirs.store(id, { status: "SUCCESS", value: third + i }));
      await Promise.all(middle);
      await nextTurn();
      await Promise.all(
        ids.slice(2 * third).map((id, i) => theirs.store(id, { status: "SUCCESS", value: 2 * third + i })),
      );
      const records = await Promise.all(waits);
      expect(records.every((record, i) => record.value === i)).toBe(true);
      if (leftovers) await until(() => leftovers() === 0);
    }, 30_000);

    test("an aborted wait rejects with the signal's reason and is gone", async () => {
      const { ours, theirs, leftovers } = await start();
      const id = newId();
      const abort = new AbortController();
      const reason = new RangeError("enough");
      const other = ours.watch(id, {});
      const waiting = ours.watch(id, { signal: abort.signal });
      abort.abort(reason);
      await expect(waiting).rejects.toBe(reason);
      await expect(ours.watch(id, { signal: abort.signal })).rejects.toBe(reason);
      await theirs.store(id, { status: "SUCCESS" });
      expect((await other).status).toBe("SUCCESS");
      if (leftovers) await until(() => leftovers() === 0);
    });

    test("a task can be watched again after an abort", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      const abort = new AbortController();
      const first = ours.watch(id, { signal: abort.signal });
      abort.abort();
      await expect(first).rejects.toThrow();
      const second = ours.watch(id, {});
      await theirs.store(id, { status: "SUCCESS", value: 2 });
      expect((await second).value).toBe(2);
    });

    test("a forgotten record is gone, and forgetting nothing is quiet", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      await ours.store(id, { status: "SUCCESS" });
      await theirs.forget(id);
      expect(await ours.get(id)).toBeNull();
      await ours.forget(id);
      await ours.store(id, { status: "SUCCESS", value: "again" });
      expect((await theirs.get(id))?.value).toBe("again");
    });

    test("a record without a form and an id without a key reject, and nothing is left of them", async () => {
      const { ours, leftovers } = await start();
      const id = newId();
      await expect(ours.store(id, { status: "SUCCESS", value: () => 1 })).rejects.toBeInstanceOf(EncodeError);
      expect(await ours.get(id)).toBeNull();
      await expect(ours.store("", { status: "SUCCESS" })).rejects.toThrow(/empty task id/);
      await expect(ours.get("")).rejects.toThrow(/empty task id/);
      await expect(ours.watch("", {})).rejects.toThrow(/empty task id/);
      await expect(ours.forget("")).rejects.toThrow(/empty task id/);
      if (leftovers) expect(leftovers()).toBe(0);
    });

    test("close rejects pending waits with ResultLost, twice is fine, and later calls reject", async () => {
      const { ours } = await start();
      const waiting = Promise.allSettled([ours.watch(newId(), {}), ours.watch(newId(), {})]);
      await ours.close();
      await ours.close();
      for (const outcome of await waiting) {
        expect(outcome.status === "rejected" && outcome.reason).toBeInstanceOf(ResultLost);
      }
      await expect(ours.watch(newId(), {})).rejects.toBeInstanceOf(ResultLost);
      await expect(ours.get(newId())).rejects.toBeInstanceOf(BackendGetMetaError);
      await expect(ours.store(newId(), { status: "SUCCESS" })).rejects.toThrow(/closed/);
    });

    test("close leaves no handle open", async () => {
      const before = handles();
      const { ours, theirs, dispose } = await start();
      const waiting = Promise.allSettled([ours.watch(newId(), {}), ours.watch(newId(), { lostAfter: 60_000 })]);
      await theirs.store(newId(), { status: "SUCCESS" });
      await ours.get(newId());
      await ours.close();
      await theirs.close();
      await waiting;
      await dispose?.();
      await until(() => [...handles()].every(([kind, count]) => count <= (before.get(kind) ?? 0)));
    });

    test("what was stored before close is there", async () => {
      const { ours, theirs } = await start();
      const ids = Array.from({ length: 50 }, newId);
      const stores = ids.map((id, i) => ours.store(id, { status: "SUCCESS", value: i }));
      await ours.close();
      await Promise.all(stores);
      expect((await theirs.get(ids[49]!))?.value).toBe(49);
    });

    test("a record of 1 MiB and one beyond ASCII survive", async () => {
      const { ours, theirs } = await start();
      const [large, foreign] = [newId(), `${newId()}-größe-${"任务"}`];
      const value = "x".repeat(1 << 20);
      const waits = [theirs.watch(large, {}), theirs.watch(foreign, {})];
      await Promise.all([
        ours.store(large, { status: "SUCCESS", value }),
        ours.store(foreign, { status: "SUCCESS", value: "naïve 🦀 \u0000 \u2028" }),
      ]);
      expect((await waits[0])?.value === value).toBe(true);
      expect((await waits[1])?.value).toBe("naïve 🦀 \u0000 \u2028");
      expect((await ours.get(foreign))?.value).toBe("naïve 🦀 \u0000 \u2028");
    });

    test("stores of one task end in the order in which they were asked for", async () => {
      const { ours, theirs } = await start();
      const id = newId();
      const stores: Promise<void>[] = [];
      for (let i = 0; i < 200; i++) stores.push(ours.store(id, { status: i < 199 ? "PROGRESS" : "FAILURE", value: i }));
      await Promise.all(stores);
      expect(await theirs.get(id)).toEqual({ status: "FAILURE", value: 199 });
    });

    test("while the store is away a store waits, a get rejects, and all completes when it is back", async ({
      skip,
    }) => {
      const { ours, goAway, comeBack } = await start();
      if (!goAway || !comeBack) return skip("this store cannot go away");
      const [stored, early] = [newId(), newId()];
      await ours.store(early, { status: "STARTED" });
      const waiting = ours.watch(stored, {});
      await goAway();
      let done = false;
      const storing = ours.store(stored, { status: "SUCCESS", value: "late" }).then(() => {
        done = true;
      });
      await expect(ours.get(early)).rejects.toBeInstanceOf(BackendGetMetaError);
      expect(done).toBe(false);
      await comeBack();
      await storing;
      expect((await waiting).value).toBe("late");
      expect((await ours.get(early))?.status).toBe("STARTED");
    }, 20_000);

    test("a result that was stored while our connection was gone is still noticed", async ({ skip }) => {
      const { ours, theirs, goAway, comeBack } = await start();
      if (!goAway || !comeBack) return skip("this store cannot go away");
      const ids = Array.from({ length: 300 }, newId);
      await ours.get(newId());
      const waits = ids.map((id) => ours.watch(id, {}));
      await goAway();
      const stores = ids.map((id, i) => theirs.store(id, { status: "SUCCESS", value: i }));
      await comeBack();
      await Promise.all(stores);
      expect((await Promise.all(waits)).map((r) => r.value)).toEqual(ids.map((_, i) => i));
    }, 20_000);

    test("a wait fails once the store has been away for lostAfter, others go on", async ({ skip }) => {
      const { ours, theirs, goAway, comeBack } = await start();
      if (!goAway || !comeBack) return skip("this store cannot go away");
      const id = newId();
      await ours.get(id);
      const short = Promise.allSettled([ours.watch(id, { lostAfter: 150 })]);
      const patient = ours.watch(id, {});
      await goAway();
      const [outcome] = await short;
      expect(outcome?.status === "rejected" && outcome.reason).toBeInstanceOf(BackendGetMetaError);
      await comeBack();
      await theirs.store(id, { status: "SUCCESS", value: 1 });
      expect((await patient).value).toBe(1);
    }, 20_000);
  });
}
