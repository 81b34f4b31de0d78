/** What the claimer of a chord does, act by act, on a store in memory. */
import { describe, expect, test } from "vitest";
import { celeryRecordCodec } from "../../../protocol/celery/result-codec.ts";
import type { ResultMeta, ResultTuple } from "../../../protocol/celery/result-meta.ts";
import type { WireSignature } from "../../../protocol/celery/signature.ts";
import { requireChords } from "../../result-backends/chord-counter.ts";
import { createMemoryBackend } from "../../result-backends/memory.ts";
import { silentLog } from "../../runtime/log.ts";
import { parseSettings, type SettingsInput } from "../../settings/settings.ts";
import { TransportClosed } from "../../transports/errors.ts";
import type { Outbox } from "../outbox.ts";
import { Chords } from "./chords.ts";
import { Errbacks } from "./errbacks.ts";

function signature(task: string, options: Record<string, unknown> = {}, more: Partial<WireSignature> = {}) {
  return { task, args: [], kwargs: {}, options, subtask_type: null, immutable: false, ...more };
}

const origin = { id: "part", rootId: "root", replyTo: null, priority: null, children: [], context: null };

function rig(publish: (name: string) => void = () => undefined, code: SettingsInput = {}) {
  const acts: string[] = [];
  const backend = createMemoryBackend<ResultMeta>({ codec: celeryRecordCodec() });
  const store = backend.store.bind(backend);
  backend.store = (id, record, route) => {
    acts.push(`store ${id} ${record.status} ${record.exception?.args[0]}`);
    return store(id, record, route);
  };
  const apply: Outbox["apply"] = async (one, { args = [], parent, options }) => {
    const names =
      one.subtask_type === "group" ? (one.kwargs.tasks as WireSignature[]).map(({ task }) => task) : [one.task];
    for (const name of names) publish(name);
    acts.push(`send ${names} ${JSON.stringify(args)} below ${parent?.id ?? String(options?.parent_id)}`);
    return { result: null, children: [] };
  };
  const refuse = () => Promise.reject(new TypeError("not used here"));
  const outbox: Outbox = { applyAsync: refuse, sendTask: refuse, send: refuse, apply };
  const { settings } = parseSettings({ code, env: {} });
  const thorough = settings.lovage_fail_unreachable;
  const errbacks = new Errbacks({ outbox, plans: new Map(), validate: true, thorough, log: silentLog });
  const records = { extended: false, hostname: "here", isoNow: () => "now" };
  const chords = new Chords({ backend, outbox, errbacks, records, thorough, settings, log: silentLog });
  const counter = backend.chords ?? expect.fail("memory counts");
  return {
    acts,
    backend,
    counter,
    part: (index: number, body: WireSignature, state = "SUCCESS", result: unknown = index) =>
      chords.returnPart({ id: `p${index}`, group: "g", groupIndex: index }, { state, result }, () => body, origin),
  };
}

const failure = { exc_type: "ValueError", exc_message: ["no"], exc_module: "builtins" };

describe("the claimer", () => {
  test("sends the body once, below the task that completed the chord", async () => {
    const { acts, counter, part } = rig();
    await counter.start("g", { size: 2, header: null });
    await part(1, signature("body"));
    expect(acts).toEqual([]);
    await part(0, signature("body"));
    await part(0, signature("body"));
    expect(acts).toEqual(["send body [[0,1]] below part"]);
  });

  test("tells the body's errbacks, fails the body, then what would have followed it", async () => {
    const { acts, counter, part } = rig();
    await counter.start("g", { size: 1, header: null });
    const chain = [signature("last", { task_id: "l" }), signature("next", { task_id: "n" })];
    const body = signature("body", { task_id: "b", link_error: [signature("told")], chain });
    await part(0, body, "FAILURE", failure);
    const text = "Dependency p0 raised ValueError('no')";
    expect(acts).toEqual([
      'send told ["b"] below b',
      `store b FAILURE ${text}`,
      `store l FAILURE ${text}`,
      `store n FAILURE ${text}`,
    ]);
    await part(0, body, "FAILURE", failure);
    expect(acts).toHaveLength(4);
  });

  test("fails the members of a group body with the part's own error, and the group after them", async () => {
    const { acts, counter, part } = rig();
    await counter.start("g", { size: 1, header: null });
    const told = signature("told");
    const tasks = [signature("one", { task_id: "1", link_error: [told] }), signature("two", { task_id: "2" })];
    const body = signature("celery.group", { task_id: "b" }, { subtask_type: "group", kwargs: { tasks } });
    await part(0, body, "FAILURE", failure);
    expect(acts).toEqual(['send told ["1"] below 1', "store 1 FAILURE no", "store 2 FAILURE no", "store b FAILURE no"]);
  });

  test("fails a body that cannot be sent, and nobody sends it again", async () => {
    const { acts, counter, part } = rig(() => {
      throw new RangeError("no broker");
    });
    await counter.start("g", { size: 1, header: null });
    await part(0, signature("body", { task_id: "b" }));
    expect(acts).toEqual(["store b FAILURE Callback error: ValueError('no broker')"]);
    await part(0, signature("body", { task_id: "b" }));
    expect(acts).toHaveLength(1);
  });

  test("that is closing down leaves the chord to whoever returns a part again", async () => {
    const { acts, counter, part } = rig(() => {
      throw new TransportClosed();
    });
    await counter.start("g", { size: 1, header: null });
    await expect(part(0, signature("body", { task_id: "b" }))).rejects.toBeInstanceOf(TransportClosed);
    expect(acts).toEqual([]);
  });

  test("joins a complex header from the store, and says when that takes too long", async () => {
    const { acts, backend, counter, part } = rig(undefined, { result_chord_join_timeout: 0.05 });
    const leaf = (id: string): ResultTuple => [[id, null], null];
    const header: ResultTuple = [
      ["g", null],
      [leaf("a"), [["inner", null], [leaf("b")]]],
    ];
    await counter.start("g", { size: 1, header });
    await part(0, signature("body", { task_id: "b" }));
    expect(acts).toEqual(["store b FAILURE Join error: TimeoutError('The operation timed out.')"]);
    for (const [id, result] of [
      ["a", 1],
      ["b", 2],
    ] as const) {
      const done = { status: "SUCCESS", result, exception: null, traceback: null, children: [], dateDone: "now" };
      await backend.store(id, { ...done, taskId: id });
    }
    await counter.start("again", { size: 1, header: [["again", null], header[1]] });
    acts.length = 0;
    const again = { id: "p", group: "again", groupIndex: 0 };
    const claim = await counter.returned("again", { ...again, taskId: "p", state: "SUCCESS", result: null });
    expect(await claim?.collect()).toEqual({ header: [["again", null], header[1]] });
  });
});

describe("a backend that cannot do chords", () => {
  test("refuses them in Celery's words", () => {
    expect(() => requireChords({ name: "rpc", can: { sharedReads: false } })).toThrow(
      'The "rpc" result backend does not support chords!',
    );
    expect(() => requireChords(null)).toThrow("Starting chords requires a result backend to be configured.");
    expect(() => requireChords({ name: "file", can: { sharedReads: true } })).not.toThrow();
  });
});
