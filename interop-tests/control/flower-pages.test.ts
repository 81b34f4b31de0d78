/**
 * Flower's pages, in a browser: they show the TypeScript worker as they show Python's, and their buttons steer it as they steer
 * Python's. Every page is read twice, and judged by what Python's worker has there. Pictures: interop-tests/artefacts/screenshots.
 */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../../src/testing/index.ts";
import { kinds } from "../faults/support.ts";
import { Browser, findBrowser } from "./flower-browser.ts";
import { type FlowerFleet, hasFlower, openFlowerFleet, type Peer } from "./flower-fleet.ts";
import { type Alert, FlowerPages, type Tables, tabs } from "./flower-pages.ts";

/** The tasks of one worker, by what becomes of them. */
const parts = ["done", "failed", "retried", "rejected", "refused", "running", "ending", "later", "waiting"] as const;
type Part = (typeof parts)[number];
type Sent = Record<Part, string>;

const states: Record<Part, string> = {
  done: "SUCCESS",
  failed: "FAILURE",
  retried: "RETRY",
  // Celery sends task-rejected, and then task-failed.
  rejected: "FAILURE",
  refused: "REVOKED",
  running: "STARTED",
  ending: "STARTED",
  later: "RECEIVED",
  waiting: "RECEIVED",
};

interface Stats {
  pool: { processes: number[] };
  autoscaler?: object;
}

const holdSeconds = 600;
const blank = /^(|—|None|null|undefined|NaN|\[object Object\])$/;
const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC$/;
const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

const ready = hasFlower() && findBrowser() !== undefined;

describe.skipIf(!ready && process.env.CI !== "true").each(
  [
    { kind: "amqp" as const, autoscale: false, flags: [] },
    { kind: "redis" as const, autoscale: true, flags: ["--autoscale=2,1"] },
  ].filter(({ kind }) => (kinds as readonly string[]).includes(kind)),
)("Flower's pages over $kind, autoscale: $autoscale", ({ kind, autoscale, flags }) => {
  let fleet: FlowerFleet;
  let browser: Browser;
  let pages: FlowerPages;
  const sent = new Map<Peer, Sent>();
  const of = (peer: Peer) => sent.get(peer) as Sent;

  beforeAll(async () => {
    fleet = await openFlowerFleet(kind, ...flags);
    browser = await Browser.start();
    pages = new FlowerPages(await browser.newPage(), fleet.flower.url, `flower-${kind}`);
  }, 300_000);
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await fleet?.[Symbol.asyncDispose]();
  }, 60_000);

  const send = (peer: Peer, name: string, args: readonly unknown[] = [], kwargs = {}, options = {}) =>
    fleet.client.send(`fixture.${name}`, args, kwargs, { queue: peer.queue, ...options });
  const gate = (peer: Peer, name: string) => fleet.site.folder.join(`${peer.queue}-${name}`);

  async function sendAll(peer: Peer): Promise<Sent> {
    const refused = `refused-${peer.queue}`;
    await fleet.ask(peer, "revoke", { task_id: [refused] });
    return {
      done: await send(peer, "echo", [1, "zwei", [null, true]], { half: 0.5 }),
      failed: await send(peer, "fail", ["KeyError", "x"]),
      retried: await send(peer, "retry_switch", ["nobody"]),
      rejected: await send(peer, "reject"),
      refused: await send(peer, "add", [1, 2], {}, { task_id: refused }),
      running: await send(peer, "hold", [gate(peer, "running"), holdSeconds]),
      ending: await send(peer, "hold", [gate(peer, "ending"), holdSeconds]),
      later: await send(peer, "add", [3, 4], {}, { countdown: 3_600 }),
      waiting: await send(peer, "add", [5, 6]),
    };
  }

  const inState = (id: string, state: string) =>
    waitFor(async () => ((await fleet.flower.json(`/api/task/info/${id}`)).state as unknown) === state, {
      timeout: 60_000,
      interval: 100,
      describe: `${id} to be ${state} in Flower`,
    });

  /** The same words for both workers: their names, queues, ids and numbers of processes stand for what they are. */
  function alike(peer: Peer, text: string): string {
    let said = text.replaceAll(peer.node, "NODE").replaceAll(gate(peer, ""), "GATE ");
    // Flower writes an id twice, whole and short.
    for (const part of parts) said = said.replaceAll(of(peer)[part] + of(peer)[part].slice(0, 8), part.toUpperCase());
    for (const part of parts) said = said.replaceAll(of(peer)[part], part.toUpperCase());
    return said.replaceAll(uuid, "UUID");
  }
  const rowsAlike = (peer: Peer, rows: string[][] = []) =>
    rows.map((row) => row.map((cell) => (cell === peer.queue ? "QUEUE" : alike(peer, cell)))).sort();

  /** Nothing is empty with us that is filled with Python. */
  function expectFilled(ours: Record<string, string>, theirs: Record<string, string>): void {
    for (const [name, value] of Object.entries(theirs)) {
      if (!blank.test(value)) expect(ours[name], name).not.toMatch(blank);
    }
  }

  test("show both workers alike, with their tasks in every state", async () => {
    const { ts, py, flower } = fleet;
    for (const peer of [ts, py]) sent.set(peer, await sendAll(peer));
    for (const peer of [ts, py]) for (const part of parts) await inState(of(peer)[part], states[part]);

    await pages.open("/workers");
    const counts = { online: "Online", active: "2", processed: "8", failed: "2", succeeded: "1" };
    await waitFor(
      async () => {
        const rows = await pages.page.rows("#workers-table");
        expect(rows.map((row) => row.slice(0, 6)).sort()).toEqual(
          [py, ts].map(({ node }) => [node, ...Object.values(counts)]),
        );
        for (const row of rows) expect(row[6]).toMatch(/^(\d+(\.\d\d?)?){3}$/);
        expect(await pages.page.texts(".metric-value")).toEqual(["2", "4", "2", "4"]);
        return true;
      },
      { timeout: 60_000, interval: 200, describe: "the heartbeats to say what runs" },
    );
    await pages.picture("workers");

    const seen: Record<string, Tables>[] = [];
    for (const peer of [ts, py]) {
      await pages.open(`/worker/${peer.node}`);
      const tables: Record<string, Tables> = {};
      for (const tab of tabs) {
        await pages.openTab(tab);
        tables[tab] = await pages.tables(tab);
        await pages.picture(`worker-${peer.queue}-${tab}`);
      }
      seen.push(tables);
    }
    const [ours, theirs] = seen as [Record<string, Tables>, Record<string, Tables>];
    const pairs = [
      ["pool", "Worker pool options"],
      ["config", "Configuration options"],
      ["system", "System usage statistics"],
      ["other", "Other statistics"],
      ...(autoscale ? [["pool", "Autoscaler options"]] : []),
    ] as const;
    for (const [tab, caption] of pairs) {
      const [a, b] = [ours, theirs].map((tables) => Object.fromEntries(tables[tab]?.[caption] ?? []));
      // Python's own modules, and what only one of the two command lines writes into the settings.
      const only = ["include", "worker_disable_prefetch", "worker_pool", "worker_autoscale"];
      const names = (rows: object) =>
        Object.keys(rows)
          .filter((name) => !only.includes(name))
          .sort();
      expect(names(a), caption).toEqual(names(b));
      expectFilled(a, Object.fromEntries(names(b).map((name) => [name, b[name]])));
    }
    expect(ours.broker).toEqual(theirs.broker);
    const queueRows = (peer: Peer, tables: Record<string, Tables>) => rowsAlike(peer, tables.queues?.["Active queues"]);
    expect(queueRows(ts, ours)).toEqual(queueRows(py, theirs));
    for (const tables of [ours, theirs]) {
      const processes = Object.fromEntries(tables.pool?.["Worker pool options"] ?? []).Processes.split(", ");
      const active = tables.tasks?.["Active tasks"]?.slice(1) ?? [];
      expect(active.map((row) => row[3]).sort()).toEqual(processes.sort());
      for (const row of active) row[3] = "PID";
    }
    for (const caption of ["Processed tasks", "Active tasks", "Scheduled tasks", "Reserved tasks", "Revoked tasks"]) {
      const rows = rowsAlike(ts, ours.tasks?.[caption]);
      expect(rows, caption).toEqual(rowsAlike(py, theirs.tasks?.[caption]));
      expect(rows.length, caption).toBeGreaterThan(1);
    }
    const limits = (tables: Record<string, Tables>) =>
      tables.limits?.["Task limits"]?.filter(([name = ""]) => /^Task$|^fixture\.(add|hold|echo)$/.test(name));
    expect(limits(ours)).toEqual(limits(theirs));
    expect(limits(ours)).toHaveLength(4);

    for (const peer of [ts, py]) {
      await pages.open(`/tasks?worker=${peer.node}`);
      // The filters of a page are kept; a fresh one has those of its address only.
      const rows = await pages.filledRows("#tasks-table", parts.length);
      for (const part of parts) {
        const id = of(peer)[part];
        const row = rows.find((cells) => cells[1]?.startsWith(id));
        expect(row?.[2], part).toBe(states[part]);
        expect(row?.[5], part).toBe(peer.node);
      }
    }
    await pages.open("/tasks");
    await pages.page.click('[data-task-state="STARTED"]');
    const started = await pages.filledRows("#tasks-table", 4);
    expect(new Set(started.map((row) => row[2]))).toEqual(new Set(["STARTED"]));
    await pages.page.click('[data-task-state=""]');
    await pages.filledRows("#tasks-table", 15);
    await pages.picture("tasks");

    for (const part of parts) {
      const theirPage = await pages.task(of(py)[part]);
      if (part === "failed") await pages.picture(`task-${part}-py`);
      const ourPage = await pages.task(of(ts)[part]);
      await pages.picture(`task-${part}`);
      expect(Object.keys(ourPage), part).toEqual(Object.keys(theirPage));
      expectFilled(ourPage, theirPage);
      for (const [name, value] of Object.entries(theirPage)) {
        const mine = ourPage[name] ?? "";
        if (time.test(value)) {
          expect(mine, `${part}: ${name}`).toMatch(time);
          const apart = Date.parse(mine.replace(" UTC", "Z")) - Date.parse(value.replace(" UTC", "Z"));
          expect(Math.abs(apart), `${part}: ${name}`).toBeLessThan(120_000);
        } else if (name === "Traceback") expect(mine).toMatch(/^\w+: .+ at /);
        else if (!["Clock", "Root", "Runtime", "Rejected", "ETA", "UUID"].includes(name)) {
          expect(alike(ts, mine), `${part}: ${name}`).toBe(alike(py, value));
        }
      }
    }

    // RabbitMQ counts every few seconds.
    await waitFor(
      async () => {
        await pages.open("/broker");
        const rows = new Map((await pages.page.rows("#queue-table")).map((row) => [row[0], row.slice(1, 5)]));
        expect(rows.get("ts")).toEqual(kind === "amqp" ? ["2", "2", "0", "1"] : ["0", "—", "—", "—"]);
        expect(rows.get("ts")).toEqual(rows.get("py"));
        return true;
      },
      { timeout: 60_000, interval: 500, describe: "the counts of the queues" },
    );
    await pages.picture("broker");
    expect(pages.page.complaints).toEqual([]);
    expect(flower.process.log()).not.toMatch(/Traceback/);
  }, 360_000);

  test("steer the worker: revoke, terminate, limits, pool, queues, shutdown", async () => {
    const { ts, py, ask, flower } = fleet;
    const alerts = new Map<Peer, Record<string, Alert>>();
    for (const peer of [ts, py]) {
      const said: Record<string, Alert> = {};
      alerts.set(peer, said);
      const note = async (name: string, alert: Promise<Alert>) => {
        const { kind: how, text } = await alert;
        said[name] = { kind: how, text: alike(peer, text).replace(new RegExp(`\\b${peer.queue}\\b`, "g"), "QUEUE") };
        if (peer === ts) await pages.picture(`alert-${name}`);
      };
      const openWorker = async () => {
        await pages.open(`/worker/${peer.node}`);
        await note("refresh", pages.menu("refresh"));
        await pages.open(`/worker/${peer.node}`);
      };
      const stats = () => ask<Stats>(peer, "stats");
      const processes = async () => (await stats()).pool.processes;
      const processesToBe = (count: number) =>
        waitFor(async () => (await processes()).length === count, {
          timeout: 60_000,
          interval: 100,
          describe: `${count} processes`,
        });
      const { running, ending, waiting, later } = of(peer);

      for (const id of [waiting, later]) {
        await pages.open(`/task/${id}`);
        await note(id === waiting ? "revoke" : "revoke-later", pages.act("#task-revoke"));
      }
      // Flower sends it and waits for no answer.
      await waitFor(
        async () => {
          const known = await ask<string[]>(peer, "revoked");
          return [waiting, later].every((id) => known.includes(id));
        },
        { describe: `${peer.node} to know what is revoked` },
      );
      await pages.open(`/task/${ending}`);
      await note("terminate", pages.act("#task-terminate"));
      await inState(ending, "REVOKED");
      // It had waited for the slot, and is discarded in its turn. Python runs it all the same where it scales its pool itself.
      if (peer === ts || !autoscale) await inState(waiting, "REVOKED");
      await waitFor(async () => (await ask<{ id: string }[]>(peer, "active")).map(({ id }) => id).join() === running, {
        timeout: 60_000,
        interval: 100,
        describe: "one to run on",
      });
      expect(await fleet.client.get(ending)).toMatchObject({ state: "REVOKED" });

      await openWorker();
      const before = (await processes()).length;
      await pages.page.type("#pool-size", "2");
      await note("grow", pages.act("#worker-pool-grow"));
      if (!autoscale) await processesToBe(before + 2);
      await note("shrink", pages.act("#worker-pool-shrink"));
      if (!autoscale) await processesToBe(before);
      await pages.page.type("#min-autoscale", "2");
      await pages.page.type("#max-autoscale", "3");
      await note("autoscale", pages.act("#worker-pool-autoscale"));
      if (autoscale) expect((await stats()).autoscaler).toMatchObject({ min: 2, max: 3 });

      const more = `more-${peer.queue}`;
      await pages.openTab("queues");
      await pages.page.type("#add-consumer-name", more);
      await note("add-consumer", pages.act("#worker-add-consumer"));
      await inState(await send(peer, "add", [1, 1], {}, { queue: more }), "SUCCESS");
      await openWorker();
      await pages.openTab("queues");
      if (peer === ts) await pages.picture("worker-ts-more-queues");
      await note("cancel-consumer", pages.act(`#worker-cancel-consumer-${more}`));
      // The answer says that it will, not that it has.
      await waitFor(
        async () => {
          const queues = await ask<{ name: string }[]>(peer, "active_queues");
          return queues.map(({ name }) => name).join() === peer.queue;
        },
        { describe: `${peer.node} to have left ${more}` },
      );

      const row = (task: string, button: string) => `[id="task-${button}-fixture.${task}"]`;
      const field = (task: string, label: string) => `[aria-label="${label} for fixture.${task}"]`;
      await pages.openTab("limits");
      await pages.page.type(field("echo", "Rate limit"), "7");
      await note("rate-limit", pages.act(row("echo", "rate-limit")));
      await pages.page.type(field("echo", "Timeout"), "60");
      await note("soft-limit", pages.act(row("echo", "timeout-soft")));
      await pages.page.type(field("hold", "Timeout"), "1");
      await note("hard-limit", pages.act(row("hold", "timeout-hard")));
      await openWorker();
      await pages.openTab("limits");
      expect((await pages.tables("limits"))["Task limits"]?.map(([name]) => name)).toContain(
        "fixture.echo [rate_limit=7]",
      );
      // Celery makes its requests with the limits of the worker's start, and so obeys new ones after a restart of its pool only.
      if (peer === ts) {
        const limited = await send(peer, "hold", [gate(peer, "limited"), holdSeconds]);
        await inState(limited, "FAILURE");
        expect((await pages.task(limited)).Exception).toBe("TimeLimitExceeded(1)");
        await pages.picture("task-limited");
      }

      writeFileSync(gate(peer, "running"), "");
      await inState(running, "SUCCESS");
      await openWorker();
      const old = await processes();
      await note("restart", pages.menu("pool-restart"));
      // Celery's prefork pool keeps its processes, whatever it answers.
      if (peer === ts) {
        await waitFor(async () => (await processes()).every((pid) => !old.includes(pid)), {
          timeout: 60_000,
          interval: 100,
          describe: "new processes",
        });
        await inState(await send(peer, "echo", ["after all"]), "SUCCESS");
      }
      await note("refresh-all", pages.menu("refresh-all"));
      if (peer === ts) await pages.picture("worker-ts-after");
      await note("shutdown", pages.menu("shutdown"));
      if (peer === py) continue;
      expect(await peer.process.ended).toEqual({ code: 0, signal: null });
      await pages.open("/workers");
      await waitFor(
        async () =>
          (await pages.page.rows("#workers-table")).some(([name, how]) => name === peer.node && how === "Offline"),
        { timeout: 60_000, interval: 200, describe: `${peer.node} to be shown offline` },
      );
      await pages.picture("workers-offline");
    }
    expect(alerts.get(ts)).toEqual(alerts.get(py));
    const refused = autoscale ? ["grow", "shrink"] : ["autoscale"];
    for (const [name, { kind: how }] of Object.entries(alerts.get(ts) ?? {})) {
      expect(how, name).toBe(refused.includes(name) ? "danger" : "success");
    }
    // The browser notes refusals as well, and nothing else went wrong.
    expect(pages.page.complaints.filter((line) => !/^403 .*\/pool\//.test(line))).toEqual([]);
    expect(flower.process.log()).not.toMatch(/Traceback/);
  }, 420_000);
});
