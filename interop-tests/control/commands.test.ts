/** Every control and inspect command, asked by Python and by us, of a Python and of a TypeScript worker. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../../src/testing/index.ts";
import { kinds } from "../faults/support.ts";
import { type Fleet, gate, openFleet, PY_QUEUE, shapeOf, TS_QUEUE } from "./fleet.ts";

/** Asks the whole fleet: first Python does, then we do. */
async function ask(fleet: Fleet, command: string, given: object = {}) {
  const both = [fleet.ts, fleet.py].sort();
  const answers = async (from: Promise<readonly object[] | null>) => {
    const replies = Object.assign({}, ...((await from) ?? [])) as Record<string, unknown>;
    expect(Object.keys(replies).sort(), command).toEqual(both);
    return { ts: replies[fleet.ts], py: replies[fleet.py] };
  };
  return {
    toPython: await answers(
      fleet.client.broadcast(command, { arguments: given, destination: both, reply: true, timeout: 5_000 }),
    ),
    toUs: await answers(
      fleet.app.control.broadcast(command, {
        arguments: { ...given },
        destination: both,
        reply: true,
        timeout: 5,
      }),
    ),
  };
}

for (const kind of kinds) {
  describe(kind, () => {
    let fleet: Fleet;
    beforeAll(async () => {
      fleet = await openFleet({ kind });
    });
    afterAll(async () => {
      await fleet[Symbol.asyncDispose]();
    });

    /** Python and we get equal answers, and both workers answer alike. */
    const equal: [command: string, given: object, answer: unknown][] = [
      ["ping", {}, { ok: "pong" }],
      ["enable_events", {}, { ok: "task events enabled" }],
      ["heartbeat", {}, null],
      ["rate_limit", { task_name: "nope", rate_limit: "1/s" }, { error: "unknown task" }],
      [
        "rate_limit",
        { task_name: "nope", rate_limit: "abc/s" },
        { error: `Invalid rate limit string: ValueError("could not convert string to float: 'abc'")` },
      ],
      ["rate_limit", { task_name: "nope", rate_limit: "1/y" }, { error: "KeyError('y')" }],
      [
        "rate_limit",
        { bogus: 1 },
        {
          error: `TypeError("rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'")`,
        },
      ],
      ["time_limit", { task_name: "nope", hard: 20, soft: 10 }, { error: "unknown task" }],
      ["time_limit", {}, { error: "unknown task" }],
      ["no_such_command", {}, { error: "KeyError('no_such_command')" }],
      ["autoscale", { max: 10, min: 2 }, { error: "ValueError('Autoscale not enabled')" }],
      [
        "pool_restart",
        { modules: null, reload: false, reloader: null },
        { error: "ValueError('Pool restarts not enabled')" },
      ],
      ["revoke", { task_id: "r-1" }, { ok: "tasks {'r-1'} flagged as revoked" }],
      ["revoke", { task_id: "zz", terminate: true, signal: "SIGTERM" }, { ok: "terminate: tasks unknown" }],
      ["terminate", { task_id: ["zz2"], signal: "KILL" }, { ok: "terminate: tasks unknown" }],
      [
        "revoke_by_stamped_headers",
        { headers: { mtask_id: ["1", "2"] }, terminate: false, signal: null },
        { ok: "headers {'mtask_id': ['1', '2']} flagged as revoked, but not terminated" },
      ],
      [
        "revoke_by_stamped_headers",
        { headers: ["a=b"], terminate: true },
        { ok: "headers {'a': 'b'} were not terminated" },
      ],
      ["revoked", {}, ["r-1", "zz", "zz2"]],
      ["query_task", { ids: ["nope"] }, {}],
      ["query_task", { ids: "nope" }, {}],
      ["active", { safe: true }, []],
      ["reserved", {}, []],
      ["scheduled", {}, []],
      [
        "objgraph",
        { num: 5, max_depth: 2, type: "Request" },
        { error: "ImportError('Requires the objgraph library')" },
      ],
      [
        "enable_events",
        { what: 1 },
        { error: `TypeError("enable_events() got an unexpected keyword argument 'what'")` },
      ],
      ["active_queues", { x: 1 }, { error: `TypeError("active_queues() got an unexpected keyword argument 'x'")` }],
      ["heartbeat", { x: 1 }, { error: `TypeError("heartbeat() got an unexpected keyword argument 'x'")` }],
      ["ping", { x: 1 }, { ok: "pong" }],
      ["pool_grow", { n: 1 }, { ok: "pool will grow" }],
      ["pool_shrink", { n: 1 }, { ok: "pool will shrink" }],
      ["add_consumer", { queue: "extra" }, { ok: "add consumer extra" }],
      ["cancel_consumer", { queue: "extra" }, { ok: "no longer consuming from extra" }],
      ["cancel_consumer", { queue: "never" }, { ok: "no longer consuming from never" }],
    ];

    test.each(equal)("%s %j", async (command, given, answer) => {
      const { toPython, toUs } = await ask(fleet, command, given);
      const expected =
        command === "enable_events" && Object.keys(given).length === 0 ? { ok: "task events already enabled" } : answer;
      expect(toPython).toEqual({ ts: answer, py: answer });
      expect(toUs).toEqual({ ts: expected, py: expected });
    });

    test("disable_events switches off once", async () => {
      const { toPython, toUs } = await ask(fleet, "disable_events");
      expect(toPython.ts).toEqual({ ok: "task events disabled" });
      expect(toPython.py).toEqual({ ok: "task events disabled" });
      expect(toUs.ts).toEqual({ ok: "task events already disabled" });
      expect(toUs.py).toEqual({ ok: "task events already disabled" });
    });

    test("stats has Celery's members and types, on top of which a pool may have its own", async () => {
      const { toPython, toUs } = await ask(fleet, "stats");
      const free = new Set(["total", "pool", "broker.hostname", "broker.userid", "broker.transport_options"]);
      expect(shapeOf(toPython.ts, free)).toEqual(shapeOf(toPython.py, free));
      expect(shapeOf(toUs.ts, free)).toEqual(shapeOf(toPython.ts, free));
      const { pool, broker, total } = toPython.ts as Record<string, Record<string, unknown>>;
      expect(pool).toMatchObject({
        implementation: expect.any(String),
        "max-concurrency": 2,
        processes: [process.pid],
      });
      expect(JSON.stringify(broker)).not.toMatch(/guest:|password/);
      expect(total).toBeTypeOf("object");
    });

    test("conf, report, clock and memory answer in Celery's forms", async () => {
      const clock = await ask(fleet, "clock");
      expect(shapeOf(clock.toPython.ts)).toEqual({ clock: "number" });
      expect(shapeOf(clock.toPython.py)).toEqual({ clock: "number" });
      const report = await ask(fleet, "report");
      expect(String(Reflect.get(report.toPython.ts as object, "ok"))).toContain("software -> lovage:");
      // Python's own holds an Infinity, which the harness has no form for.
      const destination = [fleet.ts];
      const asked = await fleet.client.broadcast("conf", {
        arguments: { with_defaults: true },
        destination,
        reply: true,
      });
      const conf = Reflect.get(asked?.[0] ?? {}, fleet.ts);
      for (const name of ["task_acks_late", "worker_prefetch_multiplier", "broker_url", "result_expires"]) {
        expect(conf).toHaveProperty(name);
      }
      expect(JSON.stringify(conf)).not.toContain("guest:guest");
      const set = await fleet.app.control.inspect({ destination }).conf();
      expect(Object.keys(set?.[fleet.ts] ?? {}).sort()).toEqual(Object.keys(fleet.site.settings).sort());
      const memory = await ask(fleet, "memsample");
      expect(memory.toPython.ts).toMatch(/^\d+(\.\d+)?MB$/);
    });

    test("active_queues describes a queue with every attribute that Kombu's has", async () => {
      const { toPython, toUs } = await ask(fleet, "active_queues");
      const of = (answer: unknown) => shapeOf((answer as object[])[0]);
      expect(of(toPython.ts)).toEqual(of(toPython.py));
      expect(toUs.ts).toEqual(toPython.ts);
      expect(toPython.ts).toMatchObject([{ name: TS_QUEUE, exchange: { name: TS_QUEUE, type: "direct" } }]);
    });

    test("registered lists names, and attributes that are set", async () => {
      const { toPython } = await ask(fleet, "registered");
      expect(toPython.ts).toEqual(["fleet.add", "fleet.fail [rate_limit=1000/s]", "fleet.late", "fleet.wait"]);
      const more = await ask(fleet, "registered", { taskinfoitems: ["max_retries", "_secret"], builtins: true });
      const builtins = (answer: unknown) => (answer as string[]).filter((line) => line.startsWith("celery."));
      expect(builtins(more.toPython.ts)).toEqual(builtins(more.toPython.py));
    });

    test("what runs, waits and is scheduled is described as Python describes it", async () => {
      const name = `busy-${kind}`;
      const { app, client } = fleet;
      const later = { countdown: 600 };
      const ids = {
        ts: [] as string[],
        py: [] as string[],
        scheduled: [] as string[],
      };
      for (let index = 0; index < 3; index++) {
        ids.ts.push(await client.send("fleet.late", [name], {}, { queue: TS_QUEUE }));
        ids.py.push((await app.sendTask("fixture.slow", [30], {}, { queue: PY_QUEUE })).id);
      }
      ids.scheduled.push(await client.send("fleet.add", [1], { y: 2 }, { queue: TS_QUEUE, ...later }));
      ids.scheduled.push((await app.sendTask("fixture.add", [1], { y: 2 }, { queue: PY_QUEUE, ...later })).id);
      const inspect = app.control.inspect({ destination: [fleet.ts, fleet.py], timeout: 5 });
      const full = await waitFor(
        async () => {
          const [active, reserved, scheduled] = [
            await inspect.active(),
            await inspect.reserved(),
            await inspect.scheduled(),
          ];
          const counts = [fleet.ts, fleet.py].map((node) =>
            [active, reserved, scheduled].map((answers) => answers?.[node]?.length),
          );
          return JSON.stringify(counts) === "[[2,1,1],[2,1,1]]" && { active, reserved, scheduled };
        },
        { describe: "two tasks to run, one to wait and one to be scheduled on each", timeout: 20_000 },
      );
      const free = new Set([
        "args",
        "kwargs",
        "request.args",
        "request.kwargs",
        "delivery_info.priority",
        "request.delivery_info.priority",
      ]);
      for (const answers of [full.active, full.reserved, full.scheduled]) {
        expect(shapeOf(answers?.[fleet.ts]?.[0], free)).toEqual(shapeOf(answers?.[fleet.py]?.[0], free));
      }
      const [first] = ids.ts;
      expect(full.active?.[fleet.ts]?.[0]).toMatchObject({
        id: first,
        name: "fleet.late",
        args: [name],
        kwargs: {},
        acknowledged: false,
        hostname: fleet.ts,
        worker_pid: process.pid,
        delivery_info: { exchange: "", routing_key: TS_QUEUE, redelivered: false },
      });
      expect(full.scheduled?.[fleet.ts]?.[0]).toMatchObject({
        priority: 6,
        request: { id: ids.scheduled[0], args: [1], kwargs: { y: 2 } },
      });
      const safe = await app.control.inspect({ destination: [fleet.ts] }).active(true);
      expect(safe?.[fleet.ts]?.[0]).toMatchObject({ args: `['${name}']`, kwargs: "{}" });
      const queried = await ask(fleet, "query_task", { ids: [first, ids.scheduled[0], ids.py[0]] });
      expect(queried.toPython.ts).toMatchObject({
        [String(first)]: ["active", { id: first }],
        [String(ids.scheduled[0])]: ["scheduled", { id: ids.scheduled[0] }],
      });
      expect(Object.keys(queried.toPython.py as object)).toEqual([ids.py[0]]);
      await app.control.revoke([...ids.scheduled, ...ids.py], { terminate: true, reply: true });
      gate(name).open();
      expect(await app.result(String(first)).get({ timeout: 10_000 })).toBe(name);
      expect((await client.get(String(ids.scheduled[0]))).state).toBe("REVOKED");
    });

    test("names, globs and regular expressions address those they fit, and nobody else answers", async () => {
      const { client, app } = fleet;
      const asked = async (options: object) => {
        const python = await client.broadcast("ping", { reply: true, timeout: 600, options });
        const ours = await app.control.broadcast("ping", { reply: true, timeout: 0.6, ...options });
        const names = (replies: readonly object[] | null) =>
          (replies ?? []).flatMap((reply) => Object.keys(reply)).sort();
        expect(names(ours)).toEqual(names(python));
        return names(ours);
      };
      expect(await asked({ pattern: "ts*", matcher: "glob" })).toEqual([fleet.ts]);
      expect(await asked({ pattern: "(ts|py)@", matcher: "pcre" })).toEqual([fleet.py, fleet.ts].sort());
      expect(await asked({ pattern: "p.*", matcher: "pcre" })).toEqual([fleet.py]);
      expect(await asked({ pattern: "@", matcher: "pcre" })).toEqual([]);
      expect(await client.broadcast("ping", { destination: ["nobody@here"], reply: true, timeout: 500 })).toEqual([]);
      // Without a reply address nobody answers, also not an unknown command.
      expect(await client.broadcast("no_such_command", { reply: false })).toBeNull();
    });

    test("a call ends as soon as everyone who is known has replied", async () => {
      const { app } = fleet;
      await app.control.ping({ timeout: 3 });
      const started = performance.now();
      expect(await app.control.ping({ timeout: 3 })).toHaveLength(2);
      expect(performance.now() - started).toBeLessThan(2_000);
    });

    test("many callers at once get their own answers", async () => {
      const { app, client } = fleet;
      const both = [fleet.ts, fleet.py];
      const asked = await Promise.all([
        ...Array.from({ length: 20 }, () => app.control.ping({ destination: both, timeout: 10 })),
        client.broadcast("ping", { destination: both, reply: true, timeout: 5_000 }),
      ]);
      for (const replies of asked) expect(replies).toHaveLength(2);
    });

    test("neither worker minds garbage in its mailbox", async () => {
      const { client, app } = fleet;
      const send = (body: unknown, more: object = {}) =>
        client.run(
          `
with app.connection_for_write() as c:
    p = kombu.Producer(c, exchange=kombu.Exchange("celery.pidbox", type="fanout", durable=False))
    p.publish(body, serializer=None, content_type=kind, content_encoding="utf-8", headers=headers)
answer = True`,
          { body, kind: "application/json", headers: {}, ...more },
        );
      for (const body of [
        "{",
        "[]",
        "null",
        '"x"',
        '{"method": 1}',
        '{"method": "ping", "arguments": [1]}',
        "x".repeat(100_000),
      ]) {
        await send(body);
      }
      await send('{"method":"ping","reply_to":{"exchange":"amq.none","routing_key":"x"},"ticket":"t"}');
      await send('{"method":"ping","reply_to":7,"ticket":"t"}');
      await send('{"method":"ping","pattern":"(a+)+$(","matcher":"pcre"}');
      await send('{"method":"ping","pattern":"x","matcher":"zz"}');
      await send("gASVAA==", { kind: "application/x-python-serialize" });
      await send('{"method":"__proto__","arguments":{"__proto__":1}}', { headers: { clock: "x" } });
      expect(await app.control.ping({ destination: [fleet.ts], timeout: 10 })).toEqual([
        { [fleet.ts]: { ok: "pong" } },
      ]);
      const sum = await client.get(await client.send("fleet.add", [2, 3], {}, { queue: TS_QUEUE }));
      expect(sum).toMatchObject({ state: "SUCCESS", value: 5 });
    });

    test("shutdown stops the worker warm, and nobody answers it", async () => {
      const { client, worker } = fleet;
      expect(await client.broadcast("shutdown", { destination: [fleet.ts], reply: true, timeout: 700 })).toEqual([]);
      await worker.finished;
      expect(
        fleet.lines.errors.filter((line) => !/refused|cannot be read|is none|addresses nobody/.test(line.message)),
      ).toEqual([]);
      fleet.python.assertAlive();
    });
  });
}
