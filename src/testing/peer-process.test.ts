import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { PeerFailed, ProgramNotFound } from "./errors.ts";
import { PeerProcess } from "./peer-process.ts";
import { tempFolder } from "./temp-folder.ts";
import { waitFor } from "./wait.ts";

const node = (source: string, more: object = {}) =>
  PeerProcess.start(process.execPath, { name: "peer", args: ["-e", source], ...more });

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("keeps the output, waits for a line of it, and for what comes after a mark", async () => {
  await using peer = await node("console.log('one'); process.stdin.once('data', () => console.error('two one'));", {
    stdin: true,
  });
  expect((await peer.waitForLog(/^o(n)e$/))[1]).toBe("n");
  const mark = peer.mark();
  const later = peer.waitForLog("one", { after: mark });
  peer.stdin?.write("\n");
  await later;
  expect(peer.log(mark).trim()).toBe("two one");
});

test("a wait for a line ends when the process does, with the end of its log", async () => {
  await using peer = await node("console.log('bye')");
  await expect(peer.waitForLog("never")).rejects.toThrow(/ended without logging never:\nbye/);
  expect(await peer.ended).toEqual({ code: 0, signal: null });
  expect(() => peer.assertAlive()).toThrow(PeerFailed);
});

test("a missing program is told as such", async () => {
  await expect(PeerProcess.start("/no/such/program")).rejects.toBeInstanceOf(ProgramNotFound);
});

test("stop asks first, and kills what does not listen together with its children", async () => {
  await using folder = await tempFolder("peer");
  const file = folder.join("child");
  const stubborn = await node(`
    process.on("SIGTERM", () => console.log("no"));
    const child = require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => 0, 1000)"]);
    require("node:fs").writeFileSync(${JSON.stringify(file)}, String(child.pid));
    setInterval(() => 0, 1000);
    console.log("ready");
  `);
  await stubborn.waitForLog("ready");
  const child = Number(await readFile(file, "utf8"));
  expect(await stubborn.stop({ grace: 100 })).toEqual({ code: null, signal: "SIGKILL" });
  expect(stubborn.log()).toContain("no");
  await waitFor(() => !lives(child), { describe: "the child to end" });
});

// The process to be killed is a Node of its own, which has to read this TypeScript by itself.
const stripsTypes = "typescript" in process.features;

test.skipIf(!stripsTypes)(
  "what a test started ends, and its folder goes, when the test's own process is killed",
  async () => {
    await using folder = await tempFolder("guard");
    const inner = JSON.stringify(folder.join("inner"));
    const program = `
    import { PeerProcess } from ${JSON.stringify(new URL("./peer-process.ts", import.meta.url).href)};
    import { mkdirSync } from "node:fs";
    mkdirSync(${inner});
    const peer = await PeerProcess.start("sleep", { args: ["600"], folders: [${inner}] });
    console.log(peer.pid);
  `;
    const killed = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const pid = await new Promise<number>((resolve) => killed.stdout.once("data", (text) => resolve(Number(text))));
    expect(lives(pid)).toBe(true);
    killed.kill("SIGKILL");
    await waitFor(() => !lives(pid) && !existsSync(folder.join("inner")), {
      describe: "the peer and its folder to go",
    });
  },
);
