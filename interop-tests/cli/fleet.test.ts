/** The commands about a fleet, against one Python and one TypeScript worker, and the live view in a real terminal. */
import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { packageRoot } from "../../src/testing/fixture-files.ts";
import { waitFor } from "../../src/testing/index.ts";
import { type Fleet, openFleet, TS_QUEUE } from "../control/fleet.ts";
import { kinds } from "../faults/support.ts";

const cli = join(packageRoot(), "dist", "src", "cli", "main.js");

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

describe.each(kinds)("%s", (kind) => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await openFleet({ kind, worker: { events: true } });
  });
  afterAll(async () => {
    await fleet[Symbol.asyncDispose]();
  });

  async function lovage(...args: string[]): Promise<Ran> {
    const options = { env: { ...process.env, LOVAGE_BROKER_URL: fleet.site.broker, NO_COLOR: "1" }, timeout: 90_000 };
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [cli, ...args], options);
      return { code: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as Ran;
      return { code, stdout, stderr };
    }
  }

  test("status names both workers, as text and as JSON", async () => {
    // Nobody knows how many will answer: a second is enough for both, but not on every machine.
    const online = (...more: string[]) =>
      waitFor(
        async () => {
          const ran = await lovage("status", "-t", "2", ...more);
          return [fleet.ts, fleet.py].every((node) => ran.stdout.includes(node)) && ran;
        },
        { timeout: 90_000, describe: "both workers to answer in time" },
      );
    const text = await online();
    expect(text.code).toBe(0);
    for (const node of [fleet.ts, fleet.py]) expect(text.stdout).toContain(`->  ${node}: OK\n`);
    expect(text.stdout).toMatch(/\n2 nodes online\.\n$/);
    const json = await online("--json");
    expect(JSON.parse(json.stdout)).toEqual({ [fleet.ts]: { ok: "pong" }, [fleet.py]: { ok: "pong" } });
  });

  test("inspect and control print what Celery's print, and end with 69 when nobody answers", async () => {
    expect((await lovage("inspect", "revoked", "-d", fleet.ts, "-t", "10")).stdout).toBe(
      `->  ${fleet.ts}: OK\n    - empty -\n\n1 node online.\n`,
    );
    const limited = await lovage("control", "rate_limit", "nope", "10/m", "-d", fleet.ts, "-t", "10");
    expect(limited).toMatchObject({ code: 0, stdout: `->  ${fleet.ts}: ERROR\n        unknown task\n` });
    expect(
      JSON.parse((await lovage("control", "pool_grow", "1", "-d", fleet.ts, "-t", "10", "--json")).stdout),
    ).toEqual([{ [fleet.ts]: { ok: "pool will grow" } }]);
    expect(await lovage("inspect", "ping", "-d", "nobody@x")).toMatchObject({
      code: 69,
      stderr: "Error: No nodes replied within time constraint\n",
    });
    expect((await lovage("inspect", "--list")).stdout).toContain("query_task [id1 [id2 [... [idN]]]]");
  });

  test("graph and events --json name workers and their tasks", async () => {
    const drawn = async () => {
      const graph = JSON.parse((await lovage("graph", "workers", "--json")).stdout);
      expect(graph.edges).toContainEqual({ worker: fleet.ts, queue: TS_QUEUE });
    };
    await vi.waitFor(drawn, { timeout: 90_000 });
    const listening = lovage("events", "--json", "--filter", "task-succeeded", "--limit", "1");
    const sender = setInterval(() => void fleet.client.send("fleet.add", [1, 2], {}, { queue: TS_QUEUE }), 500);
    try {
      const event = JSON.parse((await listening).stdout);
      expect(event).toMatchObject({ type: "task-succeeded", hostname: fleet.ts, result: "3" });
    } finally {
      clearInterval(sender);
    }
  });

  test.skipIf(!hasTerminal())(
    "the live view shows workers, languages and tasks, and revokes from the keyboard",
    async () => {
      const name = `lovage-${process.pid}-${kind}`;
      const tmux = (...args: string[]) => execFileSync("tmux", ["-L", name, ...args], { encoding: "utf8" });
      tmux(
        "new-session",
        "-d",
        "-s",
        "v",
        "-x",
        "160",
        "-y",
        "30",
        `LOVAGE_BROKER_URL='${fleet.site.broker}' ${process.execPath} ${cli} events`,
      );
      const shows = (words: RegExp) =>
        waitFor(() => words.test(tmux("capture-pane", "-p", "-t", "v")), {
          timeout: 40_000,
          describe: `${words} on the screen`,
        });
      try {
        await shows(new RegExp(`${fleet.ts} +typescript +online`));
        await shows(new RegExp(`${fleet.py} +python +online`));
        const id = await fleet.client.send("fleet.wait", [`live-${kind}`], {}, { queue: TS_QUEUE });
        await shows(new RegExp(`fleet\\.wait +STARTED +${fleet.ts} +typescript +${id}`));
        tmux("send-keys", "-t", "v", "/");
        await shows(/^filter: _/m);
        tmux("send-keys", "-t", "v", "-l", "fleet.wait");
        tmux("send-keys", "-t", "v", "Enter");
        await shows(/^filter: fleet\.wait/m);
        tmux("send-keys", "-t", "v", "Down");
        await shows(/^> fleet\.wait/m);
        tmux("send-keys", "-t", "v", "t");
        await shows(/fleet\.wait +REVOKED/);
        tmux("send-keys", "-t", "v", "q");
        await waitFor(
          () => {
            try {
              tmux("has-session", "-t", "v");
              return false;
            } catch {
              return true;
            }
          },
          { describe: "the view to end" },
        );
      } finally {
        try {
          tmux("kill-server");
        } catch {
          // It ends with its last session.
        }
      }
    },
  );
});

/** A system without pseudo-terminals (a bare chroot) can have none; that tmux is not installed is no excuse in CI. */
function hasTerminal(): boolean {
  try {
    execFileSync("tmux", ["-L", `lovage-probe-${process.pid}`, "new-session", "-d", "true"], { stdio: "pipe" });
    return true;
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    return missing && process.env.CI === "true";
  }
}
