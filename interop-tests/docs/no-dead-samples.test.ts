/** No sample only looks like one, and no link leads nowhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { extractSamples } from "./extract.ts";
import { root } from "./sample-folder.ts";

const documents = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];
const textOf = (doc: string) => readFileSync(join(root, doc), "utf8");

test.each(documents)("%s: shell that is not run names only this package's own scripts", (doc) => {
  const lines = extractSamples(doc, textOf(doc))
    .filter((sample) => sample.language === "sh" && !sample.run)
    .flatMap((sample) => sample.text.split("\n"))
    .map((line) => line.replace(/\s*#.*$/, "").trim())
    .filter((line) => line !== "");
  for (const line of lines) {
    const [, script] = /^npm (?:run )?([\w:]+)(?: -- .*)?$/.exec(line) ?? [];
    expect(["install", ...Object.keys(manifest.scripts)], line).toContain(script);
  }
});

test.each(documents)("%s: links lead to what the package holds too", (doc) => {
  const packed = new Set(["README.md", "LICENSE", ...manifest.files.map((entry) => entry.split("/")[0])]);
  for (const [, target = ""] of textOf(doc).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:|^#/.test(target)) continue;
    expect(packed, `${doc}: ${target}`).toContain(join(dirname(doc), target.split("#")[0] ?? "").split("/")[0]);
  }
});

test.each(documents)("%s: every output follows a step that is run in its group", (doc) => {
  const ran = new Set<string>();
  for (const { group, run, output, line } of extractSamples(doc, textOf(doc))) {
    if (output) expect(ran, `${doc}:${line}`).toContain(group);
    if (run) ran.add(group);
  }
});

test.each(documents)("%s: links lead to files and headings that are there", (doc) => {
  for (const [, target = ""] of textOf(doc).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue;
    const [path = "", heading] = target.split("#");
    const file = path === "" ? join(root, doc) : join(root, dirname(doc), path);
    expect(existsSync(file), `${doc}: ${target}`).toBe(true);
    if (heading === undefined) continue;
    const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\w\s-]/g, "")
        .replaceAll(" ", "-"),
    );
    expect(headings, `${doc}: ${target}`).toContain(heading);
  }
});
