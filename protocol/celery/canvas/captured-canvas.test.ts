/** Canvases that real Celery clients and workers sent in the captures, planned here: the same messages, ids numbered. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { base64Decode, utf8Decode } from "../../bytes.ts";
import { encodeSignature, type WireSignature } from "../signature.ts";
import { planApply } from "./apply.ts";
import { chainOf, chordOf, chunksOf, foldedChain, groupOf, mapOf, piped } from "./compose.ts";
import { errorLinked } from "./link.ts";
import type { CanvasPlan, PlanContext, PlannedTask } from "./plan.ts";
import { planReplace } from "./replace.ts";
import { stamped, type WireVisitor } from "./stamp.ts";
import { planChordUnlock } from "./unlock.ts";

// ---- captures as plain messages -------------------------------------------------------------------------------------

interface Sent {
  task: unknown;
  id: unknown;
  group: unknown;
  group_index: unknown;
  root_id: unknown;
  parent_id: unknown;
  reply_to: unknown;
  stamps: unknown;
  args: unknown;
  kwargs: unknown;
  embed: Record<string, unknown>;
}

interface Captured {
  headers: Record<string, unknown>;
  properties: Record<string, unknown>;
  body_text?: string;
  body_b64?: string;
  routing_key?: string;
}

interface Command {
  client: string;
  cmd: string[];
}

interface Sample {
  name: string;
  messages?: Captured[];
  client_published?: Captured[];
  result_tuple?: unknown;
  redis_commands?: Command[];
}

function samplesOf(file: string): Map<string, Sample> {
  const text = readFileSync(new URL(`../../vectors/celery/${file}.json`, import.meta.url), "utf8");
  const { samples } = JSON.parse(text) as { samples: Sample[] };
  return new Map(samples.map((sample) => [sample.name, sample]));
}

function sentIn(message: Captured): Sent {
  const text = message.body_text ?? utf8Decode(base64Decode(message.body_b64 ?? ""));
  const [args, kwargs, embed] = JSON.parse(text) as [unknown, unknown, Sent["embed"]];
  const { task, id, group, group_index, root_id, parent_id, stamps } = message.headers;
  const { reply_to } = message.properties;
  return { task, id, group, group_index, root_id, parent_id, reply_to, stamps, args, kwargs, embed };
}

/** What the client pushed, which is the first to push, and what the worker did. */
function pushedBy(commands: readonly Command[]): { client: Sent[]; worker: Sent[] } {
  const envelopes = commands
    .filter(({ cmd }) => cmd[0] === "LPUSH" && cmd[1] === "celery")
    .map(({ cmd }) => JSON.parse(cmd[2] ?? "") as Captured & { body: string });
  const first = envelopes[0]?.headers.origin;
  const sent = (mine: boolean) =>
    envelopes
      .filter(({ headers }) => (headers.origin === first) === mine)
      .map(({ headers, properties, body }) => sentIn({ headers, properties, body_b64: body }));
  return { client: sent(true), worker: sent(false) };
}

// ---- plans as the same ----------------------------------------------------------------------------------------------

function context(replyTo: unknown, parent: PlanContext["parent"] = null): PlanContext {
  let last = 0;
  const newId = () => `00000000-0000-4000-8000-${String(++last).padStart(12, "0")}`;
  return { newId, replyTo: String(replyTo), parent, own: true };
}

function planned({ name, args, kwargs, options: o }: PlannedTask): Sent {
  const names = Array.isArray(o.stamped_headers) ? o.stamped_headers : [];
  const list = (value: unknown) => (value === undefined || Array.isArray(value) ? (value ?? null) : [value]);
  const embed = {
    callbacks: list(o.link),
    errbacks: list(o.link_error),
    chain: o.chain ?? null,
    chord: o.chord ?? null,
  };
  return {
    task: name,
    id: o.task_id,
    group: o.group_id ?? null,
    group_index: o.group_index ?? null,
    root_id: o.root_id,
    parent_id: o.parent_id,
    reply_to: o.reply_to,
    stamps: Object.fromEntries(names.map((key: unknown) => [key, o[String(key)]])),
    args,
    kwargs,
    embed,
  };
}

const tasksOf = (plan: CanvasPlan) => plan.steps.filter((step) => step.kind === "task").map(planned);

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Version 4 ids by number of appearance. Stamp names are a set in Python. */
function numbered(value: unknown): unknown {
  const numbers = new Map<string, string>();
  const walk = (part: unknown, key?: string): unknown => {
    if (typeof part === "string" && UUID.test(part)) {
      if (!numbers.has(part)) numbers.set(part, `#${numbers.size + 1}`);
      return numbers.get(part);
    }
    if (Array.isArray(part)) return (key === "stamped_headers" ? part.toSorted() : part).map((one) => walk(one));
    if (typeof part !== "object" || part === null) return part;
    return Object.fromEntries(
      Object.entries(part)
        .toSorted()
        .map(([name, one]) => [name, walk(one, name)]),
    );
  };
  return walk(value);
}

// ---- the canvases of the captures -------------------------------------------------------------------------------------

const named =
  (task: string, immutable = false) =>
  (...args: unknown[]): WireSignature =>
    encodeSignature({ task: `cap.${task}`, args, immutable });
const [add, mul, ident, xsum, slow, fail] = [
  named("add"),
  named("mul"),
  named("ident"),
  named("xsum"),
  named("slow"),
  named("fail"),
];
const [onErr, onErrOld] = [named("on_err"), named("on_err_old")];
const set = (signature: WireSignature, options: Record<string, unknown>): WireSignature => ({
  ...signature,
  options: { ...signature.options, ...options },
});
const TID = "11111111-1111-4111-8111-111111111111";
const group = (...tasks: WireSignature[]) => groupOf(tasks);
const chain = (...tasks: WireSignature[]) => foldedChain(tasks);

interface Case {
  signature: WireSignature;
  args?: unknown[];
  options?: Record<string, unknown>;
}

const CLIENT: Record<string, Case> = {
  link_single: { signature: add(), args: [2, 3], options: { task_id: TID, link: mul(10) } },
  link_many_and_errback: {
    signature: add(),
    args: [2, 3],
    options: {
      task_id: TID,
      link: [mul(10), named("ident", true)("x")],
      link_error: [onErr(), named("on_err_old", true)()],
    },
  },
  chain_3: { signature: chain(add(2, 3), mul(4), add(1)), options: { task_id: TID } },
  chain_errback: { signature: errorLinked(chain(add(2, 3), mul(4)), onErr()) },
  chain_link: { signature: chain(add(2, 3), mul(4)), options: { link: ident() } },
  chain_options: {
    signature: chain(
      set(add(2, 3), { priority: 7 }),
      set(named("mul", true)(4, 5), { countdown: 10, queue: "capq" }),
      set(add(1), { expires: 60 }),
    ),
  },
  group_2: { signature: group(add(1, 1), add(2, 2)) },
  group_nested: { signature: group(add(1, 1), group(add(2, 2), add(3, 3)), chain(add(4, 4), mul(2))) },
  chain_ending_in_group: { signature: chain(add(2, 3), group(mul(2), mul(3))) },
  xmap: {
    signature: mapOf("celery.map", add(), [
      [1, 2],
      [3, 4],
    ]),
  },
  xstarmap: {
    signature: mapOf("celery.starmap", add(), [
      [1, 2],
      [3, 4],
    ]),
  },
  chunks: {
    signature: chunksOf(
      add(),
      [
        [0, 0],
        [1, 1],
        [2, 2],
        [3, 3],
      ],
      2,
    ),
  },
};

describe("messages of a client", () => {
  const samples = samplesOf("amqp-messages-canvas");
  test.each(Object.entries(CLIENT))("%s", (name, { signature, args = [], options = {} }) => {
    const { messages = [], result_tuple } = samples.get(name) ?? {};
    const sent = messages.map(sentIn);
    const plan = planApply(signature, { args, options }, context(sent[0]?.reply_to));
    expect(numbered([tasksOf(plan), plan.result])).toEqual(numbered([sent, result_tuple]));
  });
});

const UNLOCK = "celery.chord_unlock";

const UNLOCKED: Record<string, WireSignature> = {
  chord_unlock_with_filesystem_backend: chordOf([add(1, 1), slow(1.5)], xsum()),
  chord_unlock_priority_queue_options: chordOf([add(1, 1)], set(xsum(), { queue: "celery", priority: 6 })),
  chain_group_chain_protocol2: chain(add(1, 1), group(mul(2), mul(3)), xsum(), add(1)),
};

describe("chords of a client whose backend cannot count", () => {
  const samples = samplesOf("amqp-worker-chord-unlock");
  test.each(Object.entries(UNLOCKED))("%s", (name, signature) => {
    const published = samples.get(name)?.client_published ?? [];
    const sent = published.filter(({ headers }) => typeof headers?.task === "string").map(sentIn);
    const ids = context(sent[0]?.reply_to);
    const plan = planApply(signature, {}, ids);
    const route = { queue: "celery", exchangeType: "direct" };
    const ours = plan.steps.map((step) =>
      planned(step.kind === "chord" ? planChordUnlock(step, route, ids) : (step as PlannedTask)),
    );
    // Celery sends it before the header, the plan has it where the size is known.
    const unlockFirst = ours.toSorted((a, b) => Number(b.task === UNLOCK) - Number(a.task === UNLOCK));
    expect(numbered(unlockFirst)).toEqual(numbered(sent));
  });
});

const COUNTED: Record<string, WireSignature> = {
  chain: chain(add(1, 2), mul(10)),
  chord_simple: chordOf([add(1, 1), add(2, 2), add(3, 3)], xsum()),
  chord_held: chordOf([slow(2), add(2, 2)], xsum()),
  chord_failure: chordOf([add(1, 1), fail("hdr")], errorLinked(xsum(), onErr())),
  chord_group_then_task: piped(piped(group(add(1, 1), add(2, 2)), xsum()), mul(2)),
  chord_nested: chordOf([chain(add(1, 1), mul(3)), group(add(2, 2), add(3, 3))], xsum()),
  chord_body_group: piped(group(add(1, 1), add(2, 2)), group(xsum(), ident())),
  chord_complex_header_saved_group: chordOf([add(1, 1), chain(add(1, 2), group(mul(2), mul(3)))], ident()),
};

describe("canvases over Redis", () => {
  const samples = samplesOf("redis-worker-session");
  test.each(Object.entries(COUNTED))("%s", (name, signature) => {
    const commands = samples.get(name)?.redis_commands ?? [];
    const { client, worker } = pushedBy(commands);
    const plan = planApply(signature, {}, context(client[0]?.reply_to));
    expect(numbered(tasksOf(plan))).toEqual(numbered(client));

    // The size of the chord, and the group where its results are joined from the store.
    const sizes = commands
      .filter(({ cmd }) => cmd[0] === "SET" && cmd[1]?.endsWith(".s"))
      .map(({ cmd }) => Number(cmd[2]));
    const chords = plan.steps.filter((step) => step.kind === "chord");
    expect(chords.map((step) => step.size)).toEqual(sizes.slice(0, chords.length));
    const saved = commands.some(
      ({ cmd }) => cmd[0]?.startsWith("SET") && /^celery-taskset-meta-[^.]*$/.test(cmd[1] ?? ""),
    );
    expect(chords.some((step) => step.complex)).toBe(saved);

    // The worker sends the body from what the header tasks carried.
    const body = client.map((one) => one.embed.chord as WireSignature | null).find(Boolean);
    if (body === undefined || body === null || name === "chord_failure") return;
    const start = (args: unknown[], like?: Sent) => {
      const parent = { id: String(like?.parent_id), rootId: String(like?.root_id) };
      return tasksOf(planApply(body, { args }, { ...context(null, parent), own: false }));
    };
    const ids = start([]).map((one) => one.id);
    const started = worker.filter((one) => ids.includes(one.id));
    const [results] = (started[0]?.args ?? []) as unknown[];
    expect(start([results], started[0])).toEqual(started);
  });

  test("a task replaced by a group", () => {
    const { client, worker } = pushedBy(samples.get("replace_group_in_task")?.redis_commands ?? []);
    const [original] = client as [Sent];
    const request = {
      id: String(original.id),
      rootId: String(original.root_id),
      group: null,
      groupIndex: null,
      replacedTaskNesting: 0,
      embed: { callbacks: null, errbacks: null, chain: null, chord: null },
    };
    const header = worker.slice(0, 2);
    const { plan } = planReplace(group(add(5, 1), add(5, 2)), request, context(header[0]?.reply_to));
    expect(numbered([original.id, tasksOf(plan)])).toEqual(numbered([original.id, header]));
  });
});

describe("stamps", () => {
  const samples = samplesOf("amqp-messages-stamping");
  const sentOf = (name: string) => (samples.get(name)?.messages ?? []).map(sentIn);
  const mine = (signature: WireSignature, like: Sent[]) =>
    tasksOf(planApply(signature, {}, context(like[0]?.reply_to)));

  test("given as values", () => {
    const cases: Record<string, WireSignature> = {
      stamp_kwargs: set(add(2, 3), { task_id: TID }),
      stamp_group: group(add(2, 3), mul(4, 5)),
    };
    for (const [name, signature] of Object.entries(cases)) {
      const sent = sentOf(name);
      const ours = mine(stamped(signature, { stamp: "value" }, { visitor: null, append: false }), sent);
      expect(numbered(ours), name).toEqual(numbered(sent));
    }
  });

  test("given by a visitor, links and steps of a chain included", () => {
    for (const [name, signature] of Object.entries({
      stamp_visitor: set(add(2, 3), { task_id: TID }),
      stamp_with_links: set(add(2, 3), { link: [mul(2)], link_error: [onErr()] }),
      stamp_chain: chain(add(2, 3), mul(4)),
    })) {
      const sent = sentOf(name);
      // A monitoring visitor gives fresh ids: the captured ones are what it said.
      const monitored = Object.keys((sent[0]?.stamps ?? {}) as object);
      const visitor: WireVisitor = { onSignature: () => Object.fromEntries(monitored.map((key) => [key, "said"])) };
      const ours = mine(stamped(signature, {}, { visitor, append: false }), sent);
      const said = (part: unknown): unknown => {
        if (Array.isArray(part)) return part.map(said);
        if (typeof part !== "object" || part === null) return part;
        return Object.fromEntries(
          Object.entries(part).map(([key, one]) => [key, monitored.includes(key) ? "said" : said(one)]),
        );
      };
      expect(numbered(said(ours)), name).toEqual(numbered(said(sent)));
    }
  });
});

test("an errback of its own form is left as it is", () => {
  const signature = set(add(1, 1), { link_error: onErrOld() });
  const [sent] = tasksOf(planApply(signature, {}, context("oid")));
  expect(sent?.embed.errbacks).toEqual([onErrOld()]);
});

test("a chain of exactly these is kept for chains that were written so", () => {
  const plan = planApply(chainOf([group(add(1, 1), add(2, 2)), xsum()]), {}, context("oid"));
  expect(plan.steps.map((step) => step.kind)).toEqual(["task", "chord", "task"]);
  expect(plan.needsChords).toBe(true);
});
