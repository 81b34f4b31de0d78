import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { Celery } from "../app.ts";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import { AsyncResult } from "../client/async-result.ts";
import { GroupResult } from "../client/group-result.ts";
import { silentLog } from "../runtime/log.ts";
import { currentTask } from "../tasks/context.ts";
import { task } from "../tasks/definition.ts";
import type { Delivery } from "../transports/transport.ts";

const add = task("add", (x: number, y: number) => x + y);
const total = task("total", (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0));
const greet = task(
  "greet",
  { params: { name: z.string(), word: z.string().default("Hello") } },
  ({ name, word }) => `${word}, ${name}`,
);

const apps: Celery[] = [];
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});

function appWith(settings: Record<string, unknown> = {}): Celery {
  const app = new Celery(`canvas-${randomUUID()}`, {
    tasks: [add, total, greet],
    broker: "memory://",
    backend: "memory://",
    settings,
    log: silentLog,
    env: {},
  });
  apps.push(app);
  return app;
}

interface Sent {
  task: string;
  headers: Record<string, unknown>;
  args: unknown[];
  kwargs: Record<string, unknown>;
  embed: Record<string, unknown>;
}

/** The next messages of the default queue. */
async function taken(app: Celery, count: number): Promise<Sent[]> {
  const messages: Sent[] = [];
  await new Promise<void>((resolve, reject) => {
    app.transport
      .consume(["celery"], { prefetch: 0 }, (delivery: Delivery) => {
        const [args, kwargs, embed] = JSON.parse(new TextDecoder().decode(delivery.message.body));
        const headers = { ...delivery.message.headers };
        messages.push({ task: String(headers.task), headers, args, kwargs, embed });
        delivery.ack();
        if (messages.length === count) resolve();
      })
      .catch(reject);
  });
  return messages;
}

describe("apply", () => {
  test("sends a task with the signature's options beneath those of the call", async () => {
    const app = appWith();
    const result = await app.apply(add.s(1, 2).set({ taskId: "one", priority: 3 }), { priority: 5 });
    expect(result).toBeInstanceOf(AsyncResult);
    expect(result.id).toBe("one");
    const [sent] = await taken(app, 1);
    expect(sent).toMatchObject({ task: "add", args: [1, 2], headers: { id: "one", root_id: "one", parent_id: null } });
  });

  test("sends the first step of a chain with the rest, and gives the last one's result with the others as parents", async () => {
    const app = appWith();
    const result = await app.apply(chain(add.s(1, 2), add.s(3), greet.si({ name: "you" })));
    expect(result).toBeInstanceOf(AsyncResult);
    const [sent] = await taken(app, 1);
    expect(sent?.args).toEqual([1, 2]);
    const rest = sent?.embed.chain;
    expect(rest).toMatchObject([
      { task: "greet", kwargs: { name: "you" }, immutable: true },
      { task: "add", args: [3] },
    ]);
    expect(result.parent?.parent?.id).toBe(sent?.headers.id);
    expect(result.parent?.parent?.parent).toBe(null);
  });

  test("sends all members of a group in order", async () => {
    const app = appWith();
    const result = await app.apply(group([1, 2, 3].map((n) => add.s(n, n))));
    expect(result).toBeInstanceOf(GroupResult);
    const sent = await taken(app, 3);
    expect(sent.map(({ args }) => args)).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(sent.map(({ headers }) => [headers.group, headers.group_index])).toEqual(
      [0, 1, 2].map((n) => [result.id, n]),
    );
    expect(result.results.map(({ id }) => id)).toEqual(sent.map(({ headers }) => headers.id));
  });

  test("tells the backend how many parts a chord has before anything is sent", async () => {
    const app = appWith();
    const started: unknown[] = [];
    const { chords } = app.backend ?? {};
    if (chords === undefined) throw new TypeError("the memory backend counts");
    const start = chords.start.bind(chords);
    chords.start = async (groupId, given) => {
      started.push([groupId, given.size]);
      await start(groupId, given);
    };
    const result = await app.apply(chord([add.s(1, 2), add.s(3, 4)], total.s()));
    expect(started).toEqual([[result.parent?.id, 2]]);
    const sent = await taken(app, 2);
    expect(sent.map(({ embed }) => embed.chord)).toMatchObject([{ task: "total" }, { task: "total" }]);
  });

  test("becomes children of the task it is called in", async () => {
    const app = appWith();
    expect(currentTask()).toBe(undefined);
    await app.apply(add.si(1, 2));
  });
});
