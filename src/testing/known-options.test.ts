import { describe, expect, test } from "vitest";
import {
  assertDrained,
  HarnessError,
  PeerProcess,
  startNodeWorker,
  startPythonClient,
  startPythonWorker,
  startRabbitmq,
  startRedis,
  tcpProxy,
  waitFor,
} from "./index.ts";

/** Plain JavaScript: the types would not let these calls through. */
// biome-ignore lint/suspicious/noExplicitAny: wrong calls are what is tested
const wrong: any = { timout: 5, timeout: 5, target: "redis://x" };

describe("an option that the harness does not know is refused by", () => {
  test.each<[string, () => unknown]>([
    ["startRedis()", () => startRedis(wrong)],
    ["startRabbitmq()", () => startRabbitmq(wrong)],
    ["startPythonWorker()", () => startPythonWorker(wrong)],
    ["startPythonClient()", () => startPythonClient(wrong)],
    ["startNodeWorker()", () => startNodeWorker(wrong)],
    ["PeerProcess.start()", () => PeerProcess.start("true", wrong)],
    ["tcpProxy()", () => tcpProxy(wrong)],
    ["assertDrained()", () => assertDrained("redis://127.0.0.1:1/0", [], wrong)],
    ["waitFor()", () => waitFor(() => true, wrong)],
  ])("%s", async (at, call) => {
    const refused = Promise.resolve().then(call);
    await expect(refused).rejects.toThrow(HarnessError);
    await expect(refused).rejects.toThrow(`${at}: unknown option "timout"`);
  });
});
