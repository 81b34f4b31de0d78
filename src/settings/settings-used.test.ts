/** No setting may be a promise that nobody keeps: each is read somewhere in the source, or is named here as still to be wired. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { SETTING_NAMES } from "./table.ts";

/** Take a name out when its reader exists; the second test insists on it. */
const STILL_TO_BE_WIRED: readonly string[] = [
  "broker_connection_retry",
  "broker_connection_retry_on_startup",
  "broker_connection_max_retries",
  "task_protocol",
  "task_reject_on_worker_lost",
  "worker_detect_quorum_queues",
  "worker_enable_soft_shutdown_on_idle",
];

const source = fileURLToPath(new URL("../", import.meta.url));
const text = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
  .filter((path) => !/settings[\\/](table|celery-names|settings)\.ts$/.test(path))
  .map((path) => readFileSync(join(source, path), "utf8"))
  .join("\n");

/** As a property, or taken out of the settings by destructuring. */
function isRead(name: string): boolean {
  return new RegExp(`\\.${name}\\b|\\{[^{}]*\\b${name}\\b[^{}]*\\}\\s*=`).test(text);
}

test.each(SETTING_NAMES.filter((name) => !STILL_TO_BE_WIRED.includes(name)))("%s is read", (name) => {
  expect(isRead(name)).toBe(true);
});

test("what is read is no longer listed as still to be wired", () => {
  expect(STILL_TO_BE_WIRED.filter((name) => isRead(name))).toEqual([]);
});
