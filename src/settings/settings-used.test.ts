/** No setting may be a promise that nobody keeps: each is read somewhere in the source, or allows one value only. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { SETTING_NAMES } from "./table.ts";

/** Read by their parser alone: the only value that is accepted is the one that Lovage does. */
const DECIDED_WHEN_PARSED: readonly string[] = ["task_protocol"];

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

test.each(SETTING_NAMES.filter((name) => !DECIDED_WHEN_PARSED.includes(name)))("%s is read", (name) => {
  expect(isRead(name)).toBe(true);
});
