/** The version of this package, read from its package.json (beside `src/` in a checkout, above `dist/` when built). */
import { readFileSync } from "node:fs";

export function version(): string {
  for (const up of ["../../../package.json", "../../package.json"]) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), "utf8"));
      if (
        typeof found === "object" &&
        found !== null &&
        "name" in found &&
        found.name === "lovage" &&
        "version" in found
      ) {
        return String(found.version);
      }
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  return "unknown";
}
