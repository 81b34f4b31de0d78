/** What is tried of a fleet beside the single commands: who is addressed, what busy workers say, what command lines end with. */
import { expect } from "vitest";
import { waitFor, within } from "../../src/testing/index.ts";
import { both, celery, celeryAsks, celeryPanel, type Heard, lovage, weAsk } from "./ask.ts";
import { type Fleet, PY_QUEUE, shapeOf, TS_QUEUE } from "./fleet.ts";

export interface Scene {
  readonly name: string;
  /** Celery's; garbage ends a 5.4.0 worker on Redis. @default all */
  readonly versions?: readonly string[];
  run(fleet: Fleet): Promise<void>;
}

type Tree = Record<string, unknown>;

const listOf = (answers: Readonly<Record<string, Heard>>, node: string) => (answers[node]?.value ?? []) as Tree[];

const scenes: Scene[] = [];
const scene = (name: string, run: Scene["run"]) => void scenes.push({ name, run });

scene("every command is described to command lines as Celery describes it", async (fleet) => {
  const { known, answered } = await celeryPanel(fleet);
  const ours = fleet.app.control.commands.list();
  const described = ours.map((one) => [
    one.name,
    {
      alias: one.alias ?? null,
      kind: one.kind,
      visible: one.visible ?? true,
      timeout: one.defaultTimeout ?? 1,
      help: one.help,
      signature: one.signature ?? null,
      args: (one.args ?? []).map(([name, type]) => [name, type === "bool" ? "strtobool" : type]),
      variadic: one.variadic ?? null,
    },
  ]);
  expect(Object.fromEntries(described)).toEqual(known);
  const names = ours.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));
  expect(names.sort()).toEqual(answered);
});

scene("settings are shown with Celery's names and values, and no credential among them", async (fleet) => {
  const { ts, py, site } = fleet;
  const [set, all] = [await celeryAsks(fleet, "conf", {}), await celeryAsks(fleet, "conf", { with_defaults: true })];
  const of = (answers: Record<string, Heard>, node: string) => answers[node]?.value as Tree;
  const own = ["deprecated_settings", "imports", "include", "worker_disable_prefetch"];
  // Kombu writes a mask also where there is no password.
  const url = (value: unknown) => (typeof value === "string" ? value.replace("//:********@", "//") : value);
  const plain = (tree: Tree) =>
    Object.fromEntries(
      Object.entries(tree).flatMap(([name, value]) => (own.includes(name) ? [] : [[name, url(value)]])),
    );
  const theirs = plain(of(set, py));
  expect(of(set, ts)).toEqual(theirs);
  expect(Object.keys(theirs)).toEqual(expect.arrayContaining(Object.keys(site.settings)));
  const [ourAll, theirAll] = [of(all, ts), plain(of(all, py))];
  const shared = Object.keys(ourAll).filter((name) => name in theirAll);
  expect(shared.length).toBeGreaterThan(60);
  const pick = (tree: Tree) => Object.fromEntries(shared.map((name) => [name, tree[name]]));
  expect(pick(ourAll)).toEqual({ ...pick(theirAll), ...differentDefaults(pick(ourAll)) });
  for (const answers of [set, all]) expect(JSON.stringify(answers)).not.toMatch(/guest:guest|hunter2/);
});

/** Defaults that are not Celery's (docs/settings.md), and `result_expires`, which Celery shows as `1 day, 0:00:00`. */
function differentDefaults(ours: Tree): Tree {
  const names = [
    ...["broker_connection_max_retries", "broker_read_url", "broker_write_url", "redis_socket_timeout"],
    ...["result_expires", "worker_eta_task_limit", "worker_pool", "worker_proc_alive_timeout"],
  ];
  return Object.fromEntries(names.filter((name) => name in ours).map((name) => [name, ours[name]]));
}

scene("a queue that is added with options is the one that Python adds, and is left again", async (fleet) => {
  const given = {
    exchange: "fleet-topic",
    exchange_type: "topic",
    routing_key: "a.#",
    durable: false,
    auto_delete: true,
    queue_arguments: { "x-max-length": 9 },
  };
  for (const [index, ask] of [celeryAsks, weAsk].entries()) {
    const queue = `optional-${index}`;
    await ask(fleet, "add_consumer", { queue: `${queue}-ts`, ...given }, [fleet.ts]);
    await ask(fleet, "add_consumer", { queue: `${queue}-py`, ...given }, [fleet.py]);
    const added = async (node: string, name: string) => {
      const answers = await celeryAsks(fleet, "active_queues", {}, [node]);
      return listOf(answers, node).find((one) => one.name === name);
    };
    const [ours, theirs] = [
      await waitFor(() => added(fleet.ts, `${queue}-ts`), { describe: "our worker to consume it" }),
      await waitFor(() => added(fleet.py, `${queue}-py`), { describe: "Python's worker to consume it" }),
    ];
    expect({ ...ours, name: "" }).toEqual({ ...theirs, name: "" });
    await ask(fleet, "cancel_consumer", { queue: `${queue}-ts` }, [fleet.ts]);
    await ask(fleet, "cancel_consumer", { queue: `${queue}-py` }, [fleet.py]);
    for (const [node, name] of [
      [fleet.ts, `${queue}-ts`],
      [fleet.py, `${queue}-py`],
    ] as const) {
      await waitFor(async () => (await added(node, name)) === undefined, { describe: `${node} to leave ${name}` });
    }
  }
});

scene("what runs, waits and is scheduled is described as Python describes it", async (fleet) => {
  const { app, client, ts, py } = fleet;
  const name = `busy-${fleet.kind}-${fleet.version}`;
  const ids: Record<string, string[]> = { [ts]: [], [py]: [] };
  for (const [node, queue] of [
    [ts, TS_QUEUE],
    [py, PY_QUEUE],
  ] as const) {
    for (let index = 0; index < 3; index++) ids[node]?.push(await client.send("fleet.late", [name], {}, { queue }));
    ids[node]?.push(await client.send("fleet.add", [1], { y: 2 }, { queue, countdown: 600 }));
  }
  const stages = ["active", "reserved", "scheduled"] as const;
  const seen = await waitFor(
    async () => {
      const answers = await Promise.all(stages.map((stage) => weAsk(fleet, stage, {})));
      const counts = both(fleet).map((node) => answers.map((one) => (one[node] as unknown[]).length));
      return JSON.stringify(counts) === "[[2,1,1],[2,1,1]]";
    },
    { describe: "two tasks to run, one to wait and one to be scheduled on each", timeout: 30_000 },
  );
  expect(seen).toBe(true);
  const plain = (info: Tree) => {
    const { id, hostname, time_start: start, worker_pid: pid, delivery_info: from, ...rest } = info;
    expect(typeof id).toBe("string");
    return { ...rest, started: start !== null, pid: pid !== null, from: { ...(from as Tree), routing_key: "" } };
  };
  for (const stage of stages) {
    const heard = await celeryAsks(fleet, stage, {});
    const ours = await weAsk(fleet, stage, {});
    const forms = both(fleet).map((node) => {
      expect(shapeOf(ours[node]), `${stage} of ${node}`).toEqual(shapeOf(heard[node]?.value));
      const first = listOf(heard, node)[0] ?? {};
      if (stage !== "scheduled") return plain(first);
      expect(first.eta).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/);
      return { priority: first.priority, request: plain(first.request as Tree) };
    });
    expect(forms[0], stage).toEqual(forms[1]);
    expect(heard[ts]?.kind, stage).toEqual(heard[py]?.kind);
  }
  const safe = await celeryAsks(fleet, "active", { safe: true });
  for (const node of both(fleet)) {
    expect(listOf(safe, node)[0]).toMatchObject({ args: `['${name}']`, kwargs: "{}" });
  }
  for (const node of both(fleet)) {
    const [running = "", , , later = ""] = ids[node] ?? [];
    const waiting = (await weAsk(fleet, "reserved", {}, [node]))[node] as { id: string }[];
    // Before 5.7 Celery knows nothing of what is scheduled.
    const asked = [running, waiting[0]?.id ?? "", ...(fleet.version === "5.4.0" && node === py ? [] : [later])];
    const states = ["active", "reserved", "scheduled"].slice(0, asked.length);
    const told = (await celeryAsks(fleet, "query_task", { ids: [...asked, "nope"] }, [node]))[node]?.value as Tree;
    expect(told).toEqual(
      Object.fromEntries(asked.map((id, at) => [id, [states[at], expect.objectContaining({ id, hostname: node })]])),
    );
  }
  await app.control.revoke(
    both(fleet).flatMap((node) => ids[node]?.slice(3) ?? []),
    { reply: true },
  );
  fleet.openGate(name);
  for (const node of both(fleet)) {
    for (const id of ids[node]?.slice(0, 3) ?? []) {
      expect(await client.get(id, { timeout: 20_000 })).toMatchObject({ value: name });
    }
  }
});

scene("names, globs and regular expressions address those they fit, and nobody else answers", async (fleet) => {
  const { client, app, ts, py } = fleet;
  const names = (replies: readonly object[] | null) => (replies ?? []).flatMap((reply) => Object.keys(reply)).sort();
  const addresses: [
    address: { pattern?: string; matcher?: "glob" | "pcre"; destination?: string[] },
    nodes: string[],
  ][] = [
    [{ pattern: "ts*", matcher: "glob" }, [ts]],
    [{ pattern: "(ts|py)@", matcher: "pcre" }, [py, ts]],
    [{ pattern: "p.*", matcher: "pcre" }, [py]],
    [{ pattern: "@", matcher: "pcre" }, []],
    [{ pattern: "[pt]?@*", matcher: "glob" }, [py, ts]],
    [{ destination: [py] }, [py]],
    [{ destination: ["nobody@here", ts] }, [ts]],
    [{ destination: ["nobody@here"] }, []],
  ];
  const stop = new AbortController();
  const told = addresses.map(([address]) => {
    const seen: object[] = [];
    const options = { ...address, reply: true, timeout: 60, early: false, limit: 9, signal: stop.signal };
    const asked = app.control.broadcast("ping", { ...options, callback: (reply) => void seen.push(reply) });
    return { seen, ended: asked.catch(() => undefined) };
  });
  for (const [{ pattern, matcher, destination }, nodes] of addresses) {
    const limit = Math.max(1, nodes.length);
    const options = { ...(pattern === undefined ? {} : { pattern, matcher }), limit };
    const timeout = nodes.length === 0 ? 200 : 10_000;
    const to = destination === undefined ? {} : { destination };
    // Its limit counts what comes to its reply queue, also what came late for another call: it is asked until it has them all.
    const expected = [...nodes].sort().join();
    await waitFor(
      async () => names(await client.broadcast("ping", { reply: true, timeout, options, ...to })).join() === expected,
      { timeout: 20_000, describe: `${expected} to answer ${pattern ?? destination?.join()}` },
    );
  }
  // A worker answers in the order in which it was asked: whoever has answered this would have answered those.
  await app.control.ping({ destination: both(fleet), timeout: 20 });
  for (const [index, [{ pattern, destination }, nodes]] of addresses.entries()) {
    expect(names(told[index]?.seen ?? []), pattern ?? destination?.join()).toEqual([...nodes].sort());
  }
  stop.abort();
  await Promise.all(told.map(({ ended }) => ended));
  // Without a reply address nobody answers, also not an unknown command.
  expect(await client.broadcast("no_such_command", { reply: false })).toBeNull();
});

scene("command lines say who is there, and end with the same codes", async (fleet) => {
  const online = ["status", "-d", both(fleet).join(","), "-t", "10"];
  const lines = ({ stdout }: { stdout: string }) => stdout.split("\n").sort();
  const [theirs, ours] = [await celery(fleet, ...online), await lovage(fleet, ...online)];
  expect(lines(ours)).toEqual(lines(theirs));
  expect(lines(ours)).toEqual(
    expect.arrayContaining([`->  ${fleet.ts}: OK`, `->  ${fleet.py}: OK`, "2 nodes online."]),
  );
  const documents = [await celery(fleet, ...online, "--json"), await lovage(fleet, ...online, "--json")];
  const [left, right] = documents.map(({ stdout }) => JSON.parse(stdout.split("\n")[0] ?? ""));
  expect(right).toEqual(left);
  for (const words of [
    ["status", "-d", "nobody@here", "-t", "0.2"],
    ["inspect", "ping", "-d", "nobody@here", "-t", "0.2"],
    ["inspect", "ping", "-d", "nobody@here", "-t", "0.2", "--json"],
    ["control", "heartbeat", "-d", "nobody@here", "-t", "0.2"],
    ["inspect", "no_such_command"],
    ["control", "active"],
    ["inspect", "enable_events"],
    ["inspect", "hello"],
    ["control", "no_such_command", "--json"],
    ["control", "rate_limit", "a", "b", "c"],
    ["inspect"],
    ["control"],
    ["inspect", "ping", "-t", "soon"],
    ["inspect", "--list"],
    ["control", "--list"],
  ]) {
    const [python, own] = [await celery(fleet, ...words), await lovage(fleet, ...words)];
    expect(own.code, words.join(" ")).toBe(python.code);
    expect(own.stdout === "", `${words.join(" ")} says ${own.stdout}`).toBe(python.stdout === "");
    if (python.code === 69) expect(own.stderr).toBe(python.stderr);
  }
});

scene("a call ends as soon as everyone who is known has replied", async ({ app }) => {
  await waitFor(async () => (await app.control.ping({ timeout: 3 })).length === 2, { describe: "both to be known" });
  const started = performance.now();
  expect(await app.control.ping({ timeout: 30 })).toHaveLength(2);
  expect(performance.now() - started).toBeLessThan(20_000);
});

scene("many callers at once get their own answers", async (fleet) => {
  const options = { destination: both(fleet), timeout: 20 };
  const asked = await Promise.all([
    ...Array.from({ length: 20 }, () => fleet.app.control.ping(options)),
    celeryAsks(fleet, "ping", {}).then((answers) => Object.entries(answers)),
  ]);
  for (const replies of asked) expect(replies).toHaveLength(2);
});

/** Behind everything else, in this order. */
export const lastScenes: readonly Scene[] = [
  { name: "neither worker minds garbage in its mailbox", versions: ["5.7.0"], run: sendGarbage },
  { name: "shutdown stops either worker warm, and nobody answers it", run: shutDown },
];

async function sendGarbage(fleet: Fleet): Promise<void> {
  const { client, app, ts, py } = fleet;
  const bodies: [body: string, more?: object][] = [
    ...["{", "[]", "null", '"x"', '{"method": 1}', '{"method": "ping", "arguments": [1]}'].map((body): [string] => [
      body,
    ]),
    ["x".repeat(100_000)],
    ['{"method":"ping","reply_to":{"exchange":"amq.none","routing_key":"x"},"ticket":"t"}'],
    ['{"method":"ping","reply_to":7,"ticket":"t"}'],
    ['{"method":"ping","pattern":"(a+)+$(","matcher":"pcre"}'],
    ['{"method":"ping","pattern":"x","matcher":"zz"}'],
    ["gASVAA==", { kind: "application/x-python-serialize" }],
    ['{"method":"__proto__","arguments":{"__proto__":1}}', { headers: { clock: "x" } }],
  ];
  for (const [body, more] of bodies) {
    const garbage = { body, kind: "application/json", headers: {}, ...more };
    await client.run(
      `
with app.connection_for_write() as c:
    p = kombu.Producer(c, exchange=kombu.Exchange("celery.pidbox", type="fanout", durable=False))
    p.publish(garbage["body"], serializer=None, content_type=garbage["kind"], content_encoding="utf-8", headers=garbage["headers"])
answer = True`,
      { garbage },
    );
    // Python closes its mailbox over some of these and opens another: what is sent in between reaches nobody.
    await waitFor(async () => (await app.control.ping({ destination: [py], timeout: 2 })).length === 1, {
      timeout: 30_000,
      describe: `${py} to answer after ${body.slice(0, 40)}`,
    });
  }
  expect(await app.control.ping({ destination: [ts], timeout: 10 })).toEqual([{ [ts]: { ok: "pong" } }]);
  const sum = await client.get(await client.send("fleet.add", [2, 3], {}, { queue: TS_QUEUE }));
  expect(sum).toMatchObject({ state: "SUCCESS", value: 5 });
  fleet.python.assertAlive();
}

async function shutDown(fleet: Fleet): Promise<void> {
  const { worker, python, lines, ts, py } = fleet;
  const nobody = { code: 69, stdout: "", stderr: "Error: No nodes replied within time constraint\n" };
  const [first, second] = await Promise.all([
    celery(fleet, "control", "shutdown", "-d", ts, "-t", "0.3"),
    lovage(fleet, "control", "shutdown", "-d", py, "-t", "0.3"),
  ]);
  expect([first, second]).toEqual([nobody, nobody]);
  await within(worker.finished, 30_000, "our worker to end");
  await python.waitForLog(/Got shutdown from remote/, { timeout: 30_000 });
  const accepted = /refused|cannot be read|is none|addresses nobody/;
  expect(lines.errors.filter(({ message }) => !accepted.test(message))).toEqual([]);
}

export { scenes };
