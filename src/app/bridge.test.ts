/** Both apps in memory; with real servers and Python at both ends: interop-tests/mognet/bridge.test.ts. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Celery } from "../app.ts";
import { newId } from "../runtime/ids.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { RemoteTaskError, TaskRevokedError, TaskValidationError } from "../tasks/errors.ts";
import { viaCelery, viaMognet } from "./bridge.ts";
import { Mognet } from "./mognet.ts";
import { Worker } from "./worker.ts";

const score = task("score", { params: { text: z.string() }, returns: z.number() });
const scores = task("score", { params: { text: z.string() }, returns: z.number() }, ({ text }) => {
  if (text === "") throw new RangeError("nothing to score");
  return text.length;
});

function apps() {
  const name = `bridge-${newId()}`;
  const memory = { redis: { url: "memory://" } };
  const common = { log: silentLog, env: {} };
  const celery = (own: string) =>
    new Celery(`${name}-${own}`, { broker: "memory://", backend: "memory://", ...common });
  const mognet = (own: string) =>
    new Mognet(`${name}-${own}`, {
      config: {
        node_id: newId(),
        broker: { amqp: { url: "memory://" } },
        result_backend: memory,
        state_backend: memory,
        minimum_concurrency: 10,
      },
      ...common,
    });
  return { celery: celery("c"), mognet: mognet("m") };
}

describe("a bridge", () => {
  test("lets Celery carry out Mognet's requests, with values and errors", async () => {
    const { celery, mognet } = apps();
    celery.register(scores);
    mognet.register(viaCelery(celery, score));
    await using worker = await new Worker([celery, mognet]).start();
    expect(worker.taskNames).toContain("score");
    const result = await mognet.submit(score, { text: "four" });
    expect(await result.get({ timeout: 5_000 })).toBe(4);
    expect(await celery.result(result.id).get({ timeout: 5_000 })).toBe(4);
    // timedelta.max and datetime.max: no `expires` that Celery knows.
    for (const deadline of [999_999_999 * 86_400, "9999-12-31T23:59:59.999999"])
      expect(await mognet.run(score, { text: "five" }, { deadline }, { timeout: 5_000 })).toBe(4);
    const failure = await mognet.run(score, { text: "" }, {}, { timeout: 5_000 }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(RemoteTaskError);
    expect(failure).toMatchObject({ type: "ValueError", args: ["nothing to score"] });
    await worker.stop();
    await Promise.all([celery.close(), mognet.close()]);
  });

  test("lets Mognet carry out Celery's tasks, with values, errors and revokes", async () => {
    const { celery, mognet } = apps();
    mognet.register(
      scores,
      task("hold", () => new Promise(() => undefined)),
    );
    celery.register(viaMognet(mognet, score), viaMognet(mognet, "hold"));
    await using worker = await new Worker([celery, mognet]).start();
    const result = await celery.send(score, { text: "four" });
    expect(await result.get({ timeout: 5_000 })).toBe(4);
    expect((await mognet.getResult(result.id))?.state).toBe("SUCCESS");
    await expect((await celery.send(score, { text: "" })).get({ timeout: 5_000 })).rejects.toThrow("nothing to score");
    const held = await celery.sendTask("hold", [], {}, { taskId: "mine" });
    const requests = mognet.client.store;
    let id = "";
    await expect
      .poll(async () => {
        const [running] = (await mognet.nodeStatus({ timeout: 2_000, nodes: 1 })).flatMap(
          ({ runningRequestIds }) => runningRequestIds,
        );
        id = running ?? "";
        return (await requests.get(id))?.state;
      })
      .toBe("RUNNING");
    await mognet.revoke(id);
    // An error of Celery's own comes back as itself.
    await expect(held.get({ timeout: 5_000 })).rejects.toThrow(TaskRevokedError);
    await worker.stop("cold");
    await Promise.all([celery.close(), mognet.close()]);
  });

  test.each(["viaCelery", "viaMognet"])(
    "of %s leaves room for what it waits for in a worker that serves both",
    async (way) => {
      const { celery, mognet } = apps();
      const [asked, there] = way === "viaCelery" ? [mognet, celery] : [celery, mognet];
      there.register(scores);
      if (way === "viaCelery") mognet.register(viaCelery(celery, score));
      else celery.register(viaMognet(mognet, score));
      await using worker = await new Worker([celery, mognet], { concurrency: 2 }).start();
      const texts = ["one", "three", "", "seven"];
      const sent = await Promise.all(
        texts.map((text) => (asked === mognet ? mognet.submit(score, { text }) : celery.send(score, { text }))),
      );
      const ends = await Promise.allSettled(sent.map((result) => result.get({ timeout: 5_000 })));
      expect(ends.map((end) => (end.status === "fulfilled" ? end.value : end.reason.type))).toEqual([
        3,
        5,
        "ValueError",
        5,
      ]);
      // Their slots are given once: two at a time work afterwards as before.
      expect(worker.active).toBe(0);
      await worker.stop();
      await Promise.all([celery.close(), mognet.close()]);
    },
  );

  test("checks calls like the task itself, and says what it is given wrongly", async () => {
    const { celery, mognet } = apps();
    const bridged = viaCelery(celery, score, { name: "other" });
    expect(bridged.name).toBe("other");
    // @ts-expect-error another type
    await expect(mognet.submit(bridged, { text: 1 })).rejects.toThrow(TaskValidationError);
    // @ts-expect-error the apps are confused
    expect(() => viaCelery(mognet, score)).toThrow("viaCelery(): the app must be a Celery app");
    // @ts-expect-error the apps are confused
    expect(() => viaMognet(celery, score)).toThrow("viaMognet(): the app must be a Mognet app");
    // @ts-expect-error not an option
    expect(() => viaCelery(celery, score, { nam: "x" })).toThrow('did you mean "name"?');
    // @ts-expect-error not an option
    expect(() => viaCelery(celery, score, { options: { queu: "x" } })).toThrow('did you mean "queue"?');
    // @ts-expect-error not an option
    expect(() => viaMognet(mognet, score, { options: { queue: "x" } })).toThrow("unknown option");
    await Promise.all([celery.close(), mognet.close()]);
  });
});
