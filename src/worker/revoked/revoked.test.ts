import { expect, test } from "vitest";
import { limitsFrom } from "./revocations.ts";
import { RevokedIds } from "./revoked-ids.ts";
import { RevokedStamps } from "./revoked-stamps.ts";

function clock(startMs = 1_000_000) {
  const self = { ms: startMs, now: () => self.ms };
  return self;
}

test("more ids than fit: the oldest are forgotten, however many come", () => {
  const ids = new RevokedIds({ max: 1_000, maxAgeMs: 60_000 });
  for (let index = 0; index < 100_000; index++) ids.add(`id-${index}`);
  expect(ids.size).toBe(1_000);
  expect(ids.has("id-98999")).toBe(false);
  expect(ids.has("id-99000")).toBe(true);
  expect(ids.ids()[0]).toBe("id-99000");
});

test("an id is forgotten when it is old, and is as new when it is revoked again", () => {
  const time = clock();
  const ids = new RevokedIds({ max: 10, maxAgeMs: 1_000 }, time.now);
  ids.add("a");
  ids.add("b");
  time.ms += 600;
  ids.add("a");
  time.ms += 600;
  expect([ids.has("a"), ids.has("b")]).toEqual([true, false]);
  expect(ids.ids()).toEqual(["a"]);
  time.ms += 600;
  expect(ids.entries()).toEqual([]);
});

test("ids from elsewhere count from now, the last of them as the newest", () => {
  const ids = new RevokedIds({ max: 2, maxAgeMs: 1_000 });
  ids.add("own");
  ids.merge(["x", "y"]);
  expect(ids.ids()).toEqual(["x", "y"]);
});

test("names of Object.prototype are ids like others", () => {
  const ids = new RevokedIds({ max: 10, maxAgeMs: 1_000 });
  expect(ids.has("__proto__")).toBe(false);
  ids.add("__proto__");
  ids.add("constructor");
  expect(ids.ids()).toEqual(["__proto__", "constructor"]);
});

test("a stamp matches by header and value, scalar or in a list, as Python compares them", () => {
  const stamps = new RevokedStamps({ max: 10, maxAgeMs: 1_000 });
  stamps.add("batch", ["seven", 1]);
  const message = (batch: unknown, stampedHeaders: string[] | null = ["batch"]) => ({
    stampedHeaders,
    stamps: { batch },
  });
  expect(stamps.match(message("seven"))).toEqual({ header: "batch", value: "seven" });
  expect(stamps.match(message(["six", "seven"]))).toEqual({ header: "batch", value: "seven" });
  expect(stamps.match(message(true))).toEqual({ header: "batch", value: true });
  expect(stamps.match(message("1"))).toBeNull();
  expect(stamps.match(message(null))).toBeNull();
  expect(stamps.match(message("seven", null))).toBeNull();
  expect(stamps.match({ stampedHeaders: ["__proto__", "toString"], stamps: {} })).toBeNull();
});

test("stamps are bounded too", () => {
  const stamps = new RevokedStamps({ max: 100, maxAgeMs: 1_000 });
  for (let index = 0; index < 10_000; index++) stamps.add(`header-${index % 7}`, [index]);
  expect(stamps.size).toBe(100);
});

test("the bounds are Celery's environment variables", () => {
  expect(limitsFrom({})).toEqual({ max: 50_000, maxAgeMs: 10_800_000 });
  const env = { CELERY_WORKER_REVOKES_MAX: "7", CELERY_WORKER_REVOKE_EXPIRES: "2.5" };
  expect(limitsFrom(env)).toEqual({ max: 7, maxAgeMs: 2_500 });
  expect(limitsFrom({ CELERY_WORKER_REVOKES_MAX: "many" })).toEqual({ max: 50_000, maxAgeMs: 10_800_000 });
});

test("an id that no task could have is not kept", () => {
  const ids = new RevokedIds({ max: 10, maxAgeMs: 1_000 });
  ids.merge(["x".repeat(1_001), "y".repeat(1_000)]);
  expect(ids.ids()).toEqual(["y".repeat(1_000)]);
});
