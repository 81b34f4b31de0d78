/** Where this package keeps the Python programs that the harness runs. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HarnessError } from "./errors.ts";

/** The folder of our package.json: the same from `src/` and from `dist/src/`. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && /"name":\s*"lovage"/.test(readFileSync(manifest, "utf8"))) return folder;
    const parent = dirname(folder);
    if (parent === folder) throw new HarnessError("NO_PACKAGE", "the harness does not find its own package.json");
    folder = parent;
  }
}

/** The folder with `celery_app/` and `client.py`. */
export function fixturesFolder(): string {
  return join(packageRoot(), "python-fixtures");
}

/** The interpreter to use: what was asked for, LOVAGE_TEST_PYTHON, else `python3`. */
export function pythonProgram(asked?: string): string {
  return asked ?? process.env.LOVAGE_TEST_PYTHON ?? "python3";
}
