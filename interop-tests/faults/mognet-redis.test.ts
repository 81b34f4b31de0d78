/** The Redis of Mognet's results goes away under load and comes back with what it had: nothing is lost, whoever waits gets it. */
import { describe, expect, test, vi } from "vitest";
import { startRedis, tempVhost } from "../../src/testing/index.ts";
import { makeSite, service, startWorker } from "../mognet/fleet.ts";
import { openTypescriptClient } from "../mognet/typescript-client.ts";
import { expectValues, notedIds, reach, ready, submitMany, tally } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 180_000 });

describe.skipIf(!ready)("Redis with the results", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)("ends by %s under load and is started again", async (signal) => {
    await using redis = await startRedis({ persist: true });
    const api = service("LOVAGE_TEST_RABBITMQ_API");
    await using vhost = await tempVhost(api, service("LOVAGE_TEST_AMQP_URL"));
    await using site = makeSite({ broker: vhost.url, vhost: vhost.name, api, redisUrl: redis.url });
    await using client = await openTypescriptClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 20 });
    const kinds = [
      (index: number) => ({ task: "slow", args: [0.01 * (index % 10), index], metadata: { index } }),
      () => ({ task: "pause", args: [2] }),
      () => ({ task: "spawn", args: [2] }),
    ] as const;
    const sending = submitMany(client, 300, (index) => (kinds[index % 3] ?? kinds[0])(index), { lanes: 20 });
    await reach(site, "completed", 60);
    await redis.stop(signal);
    await redis.start();
    const ids = await sending;
    await expectValues(client, ids, (index) => [index, 2, [0, 1]][index % 3], 90_000);
    await site.drained(["tasks"]);
    worker.assertAlive();
    // A run may be told of twice when the answer to what it stored was lost; none may be missing.
    const done = tally(await notedIds(site, "completed"));
    expect(ids.filter((id) => done[id] === undefined)).toEqual([]);
    const left = await site.redis.keys(`${site.name}.mognet.state.*`);
    expect(left, "states of tasks that have ended").toEqual([]);
  });
});
