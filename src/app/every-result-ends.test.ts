/** Random workflows in which steps fail or are dropped anywhere: every id that was given out gets a result, and nothing is left to do. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { isReady } from "../../protocol/celery/states.ts";
import { isRecord } from "../../protocol/records.ts";
import { Celery } from "../app.ts";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import { type LooseSignature, signature, signatureFrom } from "../canvas/signature-from.ts";
import { silentLog } from "../runtime/log.ts";
import { currentTask } from "../tasks/context.ts";
import { task } from "../tasks/definition.ts";
import { Ignore, Reject } from "../tasks/signals.ts";
import { Worker } from "./worker.ts";

const tasks = [
  task("count", (...values: unknown[]) => values.flat(9).length),
  task("fail", (): never => {
    throw new RangeError("no");
  }),
  task("ignore", (): never => {
    throw new Ignore();
  }),
  task("reject", (): never => {
    throw new Reject("no", { requeue: true });
  }),
  task("replace", (): never =>
    currentTask()!.replace(chain(signature("count"), signature("fail"), signature("count"))),
  ),
];
const evil = ["fail", "ignore", "reject", "replace", "unheard.of", "expired"];
/** Without the types, which know what follows what. */
const loose: Record<"chain" | "group" | "chord", (...parts: unknown[]) => LooseSignature> = {
  chain: (...steps) => chain(...(steps as [LooseSignature])) as LooseSignature,
  group: (...members) => group(members as LooseSignature[]) as LooseSignature,
  chord: (header, body) => chord(header as LooseSignature[], body as LooseSignature) as LooseSignature,
};

/** The same for one seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >>> 8) % below;
  };
}

function workflow(below: (count: number) => number, depth: number): LooseSignature {
  const kind = depth === 0 ? 0 : below(6);
  if (kind < 2) {
    const name = below(8) === 0 ? (evil[below(evil.length)] ?? "fail") : "count";
    return name === "expired" ? signature("count").set({ expires: new Date(0) }) : signature(name);
  }
  const parts = Array.from({ length: 1 + below(3) }, () => workflow(below, depth - 1));
  if (kind === 2) return loose.chain(...parts);
  if (kind === 3) return loose.group(...parts);
  return loose.chord(parts, workflow(below, depth - 1));
}

/** Ids of tasks in frozen JSON, but of those that say nothing of themselves. */
function idsIn(json: unknown): string[] {
  if (Array.isArray(json)) return json.flatMap(idsIn);
  if (!isRecord(json)) return [];
  const inner = Object.values(json).flatMap(idsIn);
  const { task: name, options, subtask_type: kind } = json;
  const counts = typeof name === "string" && kind === null && name !== "ignore" && isRecord(options);
  return counts && typeof options.task_id === "string" ? [options.task_id, ...inner] : inner;
}

test.each([1, 20, 300])(
  "whatever happens to its steps (seed %i)",
  async (seed) => {
    const app = new Celery(`ends-${randomUUID()}`, {
      tasks,
      broker: "memory://",
      backend: "memory://",
      log: silentLog,
      env: {},
    });
    const worker = await new Worker(app, { concurrency: 16 }).start();
    const below = random(seed);
    const ids = new Map<string, object>();
    for (let count = 0; count < 30; count++) {
      const frozen = await app.freeze(workflow(below, 3));
      const json = frozen.signature.toJSON();
      for (const id of idsIn(json)) ids.set(id, json);
      await app.apply(signatureFrom(frozen.signature));
    }
    const left = new Set(ids.keys());
    const look = async () => {
      for (const id of left) if (isReady(await app.result(id).state())) left.delete(id);
      return [...left].map((id) => `${id} of ${JSON.stringify(ids.get(id))}`);
    };
    await expect.poll(look, { timeout: 20_000 }).toEqual([]);
    expect(ids.size).toBeGreaterThan(100);
    await worker.stop("cold");
    await app.close();
  },
  30_000,
);
