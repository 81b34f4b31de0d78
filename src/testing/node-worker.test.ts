/** How a Node worker is seen to be ready, or why it is not. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { WaitTimeout } from "./errors.ts";
import { startNodeWorker } from "./node-worker.ts";
import { tempFolder } from "./temp-folder.ts";

afterEach(() => vi.unstubAllEnvs());

async function script(text: string) {
  const folder = await tempFolder();
  const path = join(folder.path, "worker.mjs");
  writeFileSync(path, `${text}; setInterval(() => undefined, 1000);`);
  return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

test("a log level of the tests does not hide that a worker is ready; one that is given to it stands", async () => {
  vi.stubEnv("LOVAGE_LOG_LEVEL", "error");
  await using file = await script("console.log('level', process.env.LOVAGE_LOG_LEVEL, 'ready')");
  await using quiet = await startNodeWorker({ script: file.path });
  await quiet.waitForLog("level undefined ready");
  await using told = await startNodeWorker({ script: file.path, env: { LOVAGE_LOG_LEVEL: "debug" } });
  await told.waitForLog("level debug ready");
});

test("a worker that never says that it is ready is told of with what may hide it", async () => {
  await using file = await script("");
  const started = startNodeWorker({ script: file.path, timeout: 200 });
  await expect(started).rejects.toThrow(WaitTimeout);
  await expect(started).rejects.toThrow(/LOVAGE_LOG_LEVEL or --loglevel/);
});
