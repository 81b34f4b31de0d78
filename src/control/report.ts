/** The text for bug reports. wire: celery/app/utils.py `bugreport`; behaviour 3.3. */
import { arch, release, type } from "node:os";
import { pyRepr } from "../../protocol/saferepr.ts";
import type { Settings } from "../settings/settings.ts";
import { pickBackend, pickBroker } from "../settings/urls.ts";
import { confTable, maskedUrl } from "./conf.ts";

/** Celery's lines, with what runs here in place of Python's. `given`: settings that are not left to their defaults. */
export function reportText(settings: Settings, given: ReadonlySet<string>, version: string): string {
  const { kind } = pickBroker(settings, { purpose: "read" });
  const results = pickBackend(settings).kind === "disabled" ? "disabled" : (settings.result_backend ?? "file");
  const lines = [
    "",
    `software -> lovage:${version} node:${process.versions.node} v8:${process.versions.v8}`,
    `            openssl:${process.versions.openssl}`,
    `platform -> system:${type()} arch:${arch()}`,
    `            kernel version:${release()} imp:Node.js`,
    "loader   -> lovage",
    `settings -> transport:${kind} results:${maskedUrl(results)}`,
    "",
    ...Array.from(confTable(settings, false, given), ([name, value]) => `${name}: ${pyRepr(value)}`),
    "",
  ];
  return lines.join("\n");
}
