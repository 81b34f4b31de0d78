/** One worker holds 100,000 tasks for their time: bounded memory for each, no timer for each, and nobody else starves. */
import { describe, expect, test } from "vitest";
import { encodeTask } from "../../protocol/celery/task-encoder.ts";
import { jsonSerializer } from "../../protocol/serialization.ts";
import type { Celery } from "../../src/app.ts";
import type { SettingsInput } from "../../src/settings/settings.ts";
import { type PeerProcess, startNodeWorker, waitFor } from "../../src/testing/index.ts";
import { clientOf, expectResults, fixture, keysOf, kinds, openSite, type Site, sendAll } from "./support.ts";

const tasks = 100_000;

interface Held {
  scheduled: number;
  bytes: number;
  timers: number;
}

async function ask(worker: PeerProcess): Promise<Held> {
  const after = worker.mark();
  worker.kill("SIGUSR2");
  const told = await worker.waitForLog(/holds (\d+) bytes (\d+) timers (\d+) \./, { after });
  return { scheduled: Number(told[1]), bytes: Number(told[2]), timers: Number(told[3]) };
}

/** On Redis all that is held is renewed several times within the visibility timeout: once at least while the test runs. */
function unhurried({ kind }: Site): SettingsInput {
  return kind === "redis" ? { broker_transport_options: { visibility_timeout: 15, unacked_restore_interval: 1 } } : {};
}

function startHolder(site: Site): Promise<PeerProcess> {
  return startNodeWorker({
    script: fixture("eta-worker.js"),
    args: ["later", String(tasks)],
    execArgv: ["--expose-gc"],
    env: {
      // A window of 1,000 only to be soon done: the prefetch still has to grow a hundredfold, and beyond what AMQP can say.
      FAULT_SETTINGS: JSON.stringify({ ...site.settings, ...unhurried(site), worker_prefetch_multiplier: 250 }),
      FAULT_LEDGER: site.ledger.path,
      LOVAGE_LOG_LEVEL: "warn",
    },
  });
}

/** Below the client, which has better things to do than to look at a hundred thousand equal calls. */
async function sendFar(app: Celery, eta: Date): Promise<void> {
  const { transport } = app;
  await transport.connect();
  const to = { exchange: "", routingKey: "later" };
  const sends: Promise<void>[] = [];
  for (let index = 0; index < tasks; index++) {
    const id = `far-${index}`;
    const message = encodeTask({
      id,
      task: "fault.late",
      args: [id],
      eta: eta.toISOString(),
      origin: "test",
      serializer: jsonSerializer,
    });
    message.properties.deliveryMode = 2;
    sends.push(transport.publish(message, to));
    if (sends.length === 5_000) await Promise.all(sends.splice(0));
  }
  await Promise.all(sends);
}

describe.each(kinds)("on %s", (kind) => {
  test("100,000 tasks are held, later ones run, and all are given back at the end", async () => {
    await using site = await openSite(kind, { persist: false });
    await using app = clientOf(site, unhurried(site));
    await using worker = await startHolder(site);
    const empty = await ask(worker);
    const eta = new Date(Date.now() + 3_600_000);
    await sendFar(app, eta);
    const full = await waitFor(
      async () => {
        const held = await ask(worker);
        return held.scheduled === tasks ? held : undefined;
      },
      { timeout: 60_000, interval: 250, describe: `${tasks} tasks to be held` },
    );
    expect((full.bytes - empty.bytes) / tasks).toBeLessThan(6_000);
    expect(full.timers).toBeLessThan(20);

    const [soon, now] = [keysOf(50, "soon"), keysOf(50, "now")];
    await sendAll(app, soon, { task: "fault.late", queue: "later", options: { countdown: 1 } });
    await sendAll(app, now, { task: "fault.late", queue: "later" });
    await expectResults(app, [...soon, ...now]);
    expect((await ask(worker)).scheduled).toBe(tasks);

    expect(await worker.stop({ grace: 100_000 })).toEqual({ code: 0, signal: null });
    await site.reach("later", tasks, 0);
    expect(site.ledger.keys("start").sort()).toEqual([...soon, ...now].sort());
  }, 240_000);
});
