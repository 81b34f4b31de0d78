import { expect, test } from "vitest";
import type { ResultMeta } from "../../../protocol/celery/result-meta.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import { silentLog } from "../../runtime/log.ts";
import type { Request } from "../request.ts";
import { Revocations } from "./revocations.ts";

interface FakeStore {
  records: Map<string, string>;
  most: number;
  backend: ResultBackend<ResultMeta>;
}

/** As much of a store as is asked. */
function store(records: Record<string, string> = {}, sharedReads = true): FakeStore {
  const fake = { records: new Map(Object.entries(records)), most: 0 };
  let busy = 0;
  const parts: unknown = {
    can: { sharedReads },
    async get(id: string) {
      fake.most = Math.max(fake.most, ++busy);
      await Promise.resolve();
      busy--;
      if (id === "away") throw new RangeError("the store is away");
      const status = fake.records.get(id);
      return status === undefined ? null : { status };
    },
    async store(id: string, record: ResultMeta) {
      fake.records.set(id, record.status);
    },
  };
  return Object.assign(fake, { backend: parts as ResultBackend<ResultMeta> });
}

function open(backend: ResultBackend<ResultMeta> | null, max = 1_000) {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_fields: object, message?: string) => void warnings.push(message ?? "") };
  const limits = { max, maxAgeMs: 60_000 };
  return { warnings, revocations: new Revocations({ backend, isoNow: () => "now", log, limits }) };
}

test("REVOKED is stored for what nobody has started, and for nothing else", async () => {
  const states = { retry: "RETRY", started: "STARTED", progress: "PROGRESS", done: "SUCCESS", failed: "FAILURE" };
  const fake = store(states);
  const { revocations, warnings } = open(fake.backend);
  await revocations.announce([...Object.keys(states), "unknown", "away"]);
  expect(Object.fromEntries(fake.records)).toEqual({ ...states, retry: "REVOKED", unknown: "REVOKED" });
  expect(warnings).toEqual(["REVOKED could not be stored"]);
});

test("a flood is looked at some at a time, and what is too much is passed over with two lines", async () => {
  const fake = store();
  const { revocations, warnings } = open(fake.backend, 1_000);
  const all = [];
  for (let message = 0; message < 100; message++) {
    all.push(revocations.announce(Array.from({ length: 100 }, (_, index) => `${message}-${index}`)));
  }
  await Promise.all(all);
  expect(fake.most).toBeLessThanOrEqual(32);
  expect(fake.records.size).toBeLessThan(1_100);
  expect(fake.records.get("99-99")).toBe("REVOKED");
  expect(warnings).toHaveLength(2);
});

test("where replies go to one client, and where nothing is stored, nothing is looked at", async () => {
  const fake = store({}, false);
  await open(fake.backend).revocations.announce(["a"]);
  await open(null).revocations.announce(["a"]);
  expect(fake.records.size).toBe(0);
});

test("a request is refused by id, by stamp and by its expiry, which is remembered", () => {
  const { revocations } = open(null);
  const request = (id: string, expiresMs: number | null = null, batch?: string): Request => {
    const stamps = batch === undefined ? {} : { batch };
    const message = { id, stampedHeaders: Object.keys(stamps), stamps };
    const parts: unknown = { id, message, expiresMs };
    return parts as Request;
  };
  expect(revocations.refusal(request("a"))).toBeNull();
  revocations.ids.add("a");
  revocations.stamps.add("batch", ["seven"]);
  expect(revocations.refusal(request("a"))).toMatchObject({ terminated: false, expired: false });
  expect(revocations.refusal(request("b", null, "seven"))).toMatchObject({ expired: false });
  expect(revocations.refusal(request("b", null, "six"))).toBeNull();
  expect(revocations.refusal(request("c", Date.now() - 1))).toMatchObject({ expired: true });
  expect(revocations.refusal(request("c"))).toMatchObject({ expired: false });
  expect(revocations.refusal(request("d", Date.now() + 60_000))).toBeNull();
});

test("a store that is away is one complaint for all, and their number", async () => {
  const broken: unknown = {
    can: { sharedReads: true },
    get: () => Promise.reject(new RangeError("the store is away")),
  };
  const { revocations, warnings } = open(broken as ResultBackend<ResultMeta>);
  await Promise.all([revocations.announce(["a", "b", "c"]), revocations.announce(["d"])]);
  expect(warnings).toEqual(["REVOKED could not be stored", "REVOKED could not be stored for so many"]);
});
