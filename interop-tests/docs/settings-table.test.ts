/** docs/configuration.md names every setting as the code has it. `LOVAGE_TEST_UPDATE=1` writes the table anew. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SETTING_NAMES } from "../../src/settings/table.ts";
import { root } from "./sample-folder.ts";
import { withSettings } from "./settings-table.ts";

const path = join(root, "docs", "configuration.md");

test("the table of settings in docs/configuration.md is current", () => {
  const written = readFileSync(path, "utf8");
  const current = withSettings(written);
  if (process.env.LOVAGE_TEST_UPDATE === "1") writeFileSync(path, current);
  else expect(written, "run this test with LOVAGE_TEST_UPDATE=1").toBe(current);
  for (const name of SETTING_NAMES) expect(current).toContain(`| \`${name}\` |`);
});
