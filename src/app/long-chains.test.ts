/** Chains so long that the links behind the next one travel on unread, and what happens when somebody needs them after all. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { encodeSignature, type WireSignature } from "../../protocol/celery/signature.ts";
import { Celery } from "../app.ts";
import { signatureFrom } from "../canvas/signature-from.ts";
import { AsyncResult } from "../client/async-result.ts";
import { silentLog } from "../runtime/log.ts";
import { currentTask } from "../tasks/context.ts";
import { type AnyTask, task } from "../tasks/definition.ts";
import { Worker } from "./worker.ts";

const LENGTH = 60;
const timeout = { timeout: 50_000 };

const add = task("add", (x: number, y: number) => x + y);
const sum = task("sum", (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0));
const fail = task("fail", (_x: number): number => {
  throw new RangeError("in the middle");
});
const replaced = task("replaced", (x: number): number => currentTask()?.replace(add.s(x, 1)) ?? 0);
let tries = 0;
const retried = task("retried", { retryBackoff: false, defaultRetryDelay: 0 }, (x: number): number => {
  tries++;
  if (tries < 3) throw currentTask()?.retry({ countdown: 0 });
  return x + 1;
});

const link = (name: string, args: readonly unknown[] = [1]): WireSignature =>
  // The id shows in results; the rest is what makes a link long.
  encodeSignature({ task: name, args, options: { shadow: "x".repeat(200), task_id: randomUUID() } });
const chainOf = (links: readonly WireSignature[]) =>
  signatureFrom(encodeSignature({ task: "celery.chain", kwargs: { tasks: links }, subtask_type: "chain" }));

const open: { worker: Worker; app: Celery }[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const { worker, app } of open.splice(0)) {
    await worker.stop("cold");
    await app.close();
  }
});

async function running(tasks: readonly AnyTask[] = [], settings: Record<string, unknown> = {}): Promise<Celery> {
  const app = new Celery(`chains-${randomUUID()}`, {
    tasks: [add, sum, fail, replaced, retried, ...tasks],
    broker: "memory://",
    backend: "memory://",
    settings,
    log: silentLog,
    env: {},
  });
  const worker = await new Worker(app, { concurrency: 4 }).start();
  open.push({ worker, app });
  return app;
}

async function apply(app: Celery, links: readonly WireSignature[]): Promise<AsyncResult<unknown>> {
  const result = await app.apply(chainOf(links));
  return result instanceof AsyncResult ? result : expect.fail("the result of a chain is that of its last task");
}

const links = (middle: readonly WireSignature[]) => [
  link("add", [0, 0]),
  ...Array.from({ length: LENGTH }, () => link("add")),
  ...middle,
  ...Array.from({ length: LENGTH }, () => link("add")),
];

describe("a long chain", { timeout: 60_000 }, () => {
  test.each([
    ["of plain tasks", [link("add")]],
    ["with a task that is replaced", [link("replaced", [])]],
    ["with a task that is retried", [link("retried", [])]],
  ])("%s gives the result of all of it", async (_what, middle) => {
    tries = 0;
    const app = await running();
    expect(await (await apply(app, links(middle))).get(timeout)).toBe(2 * LENGTH + 1);
  });

  test("with a group in it, which makes a chord of what follows, gives the result of all of it", async () => {
    const app = await running();
    const group = encodeSignature({
      task: "celery.group",
      kwargs: { tasks: [link("add"), link("add")] },
      subtask_type: "group",
    });
    const result = await apply(app, links([group, link("sum", [])]));
    expect(await result.get(timeout)).toBe(2 * (LENGTH + 1) + LENGTH);
  });

  test("that fails in the middle fails every link behind, each under its own id", async () => {
    const app = await running();
    const all = links([link("fail", [])]);
    await expect((await apply(app, all)).get(timeout)).rejects.toThrow("in the middle");
    for (const { options } of [all[LENGTH + 2], all[LENGTH + 10], all.at(-1)].filter((one) => one !== undefined)) {
      const behind = app.result(String(options.task_id));
      await expect(behind.get(timeout)).rejects.toThrow("in the middle");
    }
    expect(await app.result(String(all[LENGTH]?.options.task_id)).get(timeout)).toBe(LENGTH);
  });

  test("costs three times as much to read when it is three times as long", async () => {
    const read = async (length: number) => {
      const app = await running();
      const parse = vi.spyOn(JSON, "parse");
      const result = await apply(app, [link("add", [0, 0]), ...Array.from({ length }, () => link("add"))]);
      expect(await result.get(timeout)).toBe(length);
      const characters = parse.mock.calls.reduce((total, [text]) => total + text.length, 0);
      parse.mockRestore();
      return characters;
    };
    const short = await read(60);
    expect(await read(180)).toBeLessThan(5 * short);
  });
});
