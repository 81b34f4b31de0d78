/**
 * Two Python and two TypeScript workers, stopped and started in turn under load, with mingle, gossip and events on. LOVAGE_TEST_CHURN_SECONDS
 * says for how long on each broker; minutes by hand, half of one in a run of all tests.
 */
import { describe, expect, test, vi } from "vitest";
import { startPythonClient } from "../../src/testing/index.ts";
import {
  absences,
  HOST,
  Member,
  QUEUE,
  unseenLives,
  untilRevoked,
  watchWithOurs,
  watchWithPython,
} from "./fleet-support.ts";
import { clientOf, expectAllRan, kinds, openSite, repeated } from "./support.ts";

const seconds = Number(process.env.LOVAGE_TEST_CHURN_SECONDS ?? 20);
/** Every worker is stopped and started again so often at least. */
const leastRestarts = 2;
/** Tasks under way at a time. */
const lanes = 24;
vi.setConfig({ testTimeout: seconds * 1000 + 280_000 });

const older = process.env.LOVAGE_TEST_PYTHON_5_4_0;

describe.each(kinds)("a fleet whose workers come and go, on %s", (kind) => {
  test("loses no task, shows no living worker offline, answers, passes revokes on, and logs no error", async () => {
    await using site = await openSite(kind, { persist: false });
    const settings = kind === "redis" ? { broker_transport_options: {} } : {};
    Object.assign(site.settings, settings);
    const python = { language: "python", settings } as const;
    const node = { language: "node", settings } as const;
    const members = {
      python: [
        new Member(site, { ...python, node: `py-1${HOST}` }),
        new Member(site, { ...python, node: `py-2${HOST}`, python: older }),
      ],
      node: [new Member(site, { ...node, node: `ts-1${HOST}` }), new Member(site, { ...node, node: `ts-2${HOST}` })],
    };
    const all = [...members.python, ...members.node];
    const app = clientOf(site, settings);
    await using client = await startPythonClient({ broker: site.broker, backend: site.backend });
    const [pythonSaw, oursSaw] = [await watchWithPython(client), await watchWithOurs(app)];
    const over = new AbortController();
    const failed: unknown[] = [];
    const guarded = (act: Promise<void>) =>
      act.catch((error: unknown) => {
        failed.push(error);
        over.abort();
      });
    try {
      await Promise.all(all.map((member) => member.start().then(() => member.untilHeard(app))));
      const began = Date.now();

      // The load: every lane sends a task, waits for its result, and sends the next.
      const sent: string[] = [];
      const wrong: string[] = [];
      const lane = async (number: number) => {
        for (let index = 0; !over.signal.aborted; index++) {
          const key = `${kind}-${number}-${index}`;
          const task = (number + index) % 2 === 0 ? "fault.early" : "fault.late";
          const later = index % 10 === 9 ? { countdown: 0.5 } : {};
          sent.push(key);
          const result = await app.sendTask(task, [key, (index * 7) % 60], {}, { queue: QUEUE, taskId: key, ...later });
          const value = await result.get({ timeout: 60_000 }).catch((error: unknown) => error);
          if (value !== `done:${key}`) wrong.push(`${key}: ${String(value)}`);
        }
      };

      // Both clients ask, all the time: whoever lives before and after must have answered.
      let answered = 0;
      const pinging = async () => {
        while (!over.signal.aborted) {
          const before = new Map(all.filter(({ living }) => living).map((member) => [member, member.process]));
          const destination = [...before.keys()].map((member) => member.node);
          const ours = app.control.ping({ destination, timeout: 20 });
          const theirs = client.broadcast("ping", { destination, reply: true, timeout: 20_000 });
          const replies = { ours: await ours, theirs: (await theirs) ?? [] };
          for (const [member, process] of before) {
            if (member.process !== process) continue;
            for (const [who, list] of Object.entries(replies)) {
              const said = list.map((reply) => Reflect.get(reply, member.node)).find((answer) => answer !== undefined);
              expect(said, `${member.node} to the ping of ${who}`).toEqual({ ok: "pong" });
              answered++;
            }
          }
        }
      };

      // One language's workers in turn, beside the other's. What was revoked while a worker was away, it refuses when it is back.
      let refused = 0;
      const churn = async (ours: readonly Member[], others: readonly Member[]) => {
        for (let turn = 0; !over.signal.aborted; turn++) {
          const member = ours[turn % ours.length] as Member;
          expect(await member.stop(), member.node).toEqual({ code: 0, signal: null });
          const id = `revoked-${member.node}-${turn}`;
          await app.control.revoke(id);
          const witness = [...ours, ...others].find(({ living }) => living) as Member;
          await untilRevoked(app, witness.node, [id]).catch((error: unknown) => {
            // The witness may have been stopped meanwhile; the others heard of it all the same.
            if (witness.living) throw error;
          });
          await member.startTold(app, id, ours.length + others.length - 1);
          const refusal = await app.sendTask("fault.late", [id], {}, { queue: member.ownQueue, taskId: id });
          await expect(refusal.get({ timeout: 60_000 }), `${member.node} refuses`).rejects.toThrow(/revoked/i);
          refused++;
          const restarts = Math.min(...ours.map(({ lives }) => lives.length - 1));
          if (restarts >= leastRestarts && Date.now() - began > seconds * 1000) return;
        }
      };

      const beside = [...Array.from({ length: lanes }, (_, number) => lane(number)), pinging()].map(guarded);
      await Promise.all([churn(members.python, members.node), churn(members.node, members.python)].map(guarded));
      over.abort();
      await Promise.all(beside);
      expect(failed).toEqual([]);
      expect(wrong).toEqual([]);

      const churned = Date.now() - began;
      const samples = { python: await pythonSaw(), ours: await oursSaw() };
      for (const member of all) expect(await member.stop(), member.node).toEqual({ code: 0, signal: null });
      await site.endDrained([], QUEUE);
      const ran = site.ledger.keys("end");
      expectAllRan(ran, sent);
      expect(repeated(ran)).toEqual([]);
      expect(ran.filter((key) => key.startsWith("revoked"))).toEqual([]);
      for (const [who, seen] of Object.entries(samples)) {
        expect(absences(seen, all), `living workers that ${who} showed offline`).toEqual([]);
        expect(unseenLives(seen, all), `lives that ${who} did not see`).toEqual([]);
      }
      for (const member of all) expect(member.complaints(), member.node).toEqual([]);
      expect(client.process.log()).not.toMatch(/drift|Traceback/i);
      const restarts = all.map((member) => `${member.node} ${member.lives.length - 1}`).join(", ");
      console.info(
        `${kind}: ${Math.round(churned / 1000)} s, ${sent.length} tasks, restarts ${restarts}, ${answered} pings, ${refused} refused`,
      );
    } finally {
      over.abort();
      await Promise.all(all.map((member) => (member.process === null ? null : member.stop())));
      await app.close();
    }
  });
});
