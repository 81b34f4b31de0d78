/** Writes samples to a folder inside the package, so that `import … from "lovage"` means this package, and compiles them. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { PeerProcess } from "../../src/testing/index.ts";
import { DocsError } from "./docs-error.ts";
import type { Sample, SampleGroup } from "./extract.ts";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const samplesRoot = join(root, ".cache", "docs");
const endings: Readonly<Record<string, string>> = { ts: ".ts", js: ".js", python: ".py", sh: ".sh" };

/** Tests write these addresses into samples in place of those that readers use. */
export interface Addresses {
  amqp?: string;
  redis?: string;
  api?: string;
}

export function folderOf(group: SampleGroup): string {
  return join(samplesRoot, group.doc.replace(/\W+/g, "-"), group.name);
}

/** The file that a sample becomes, or `undefined` for one that is only text. */
export function fileOf(sample: Sample): string | undefined {
  if (sample.file !== undefined) return sample.file;
  const ending = endings[sample.language];
  return ending === undefined || sample.output ? undefined : `sample-${sample.line}${ending}`;
}

/** Writes the files of every group. Several samples with one file name are its parts, in order. */
export function writeSamples(groups: readonly SampleGroup[]): void {
  rmSync(samplesRoot, { recursive: true, force: true });
  for (const group of groups) writeGroup(group, {});
  writeFileSync(
    join(samplesRoot, "tsconfig.json"),
    JSON.stringify({
      extends: "../../tsconfig.json",
      compilerOptions: {
        noEmit: false,
        rootDir: ".",
        outDir: ".",
        noUnusedLocals: false,
        noUnusedParameters: false,
        // A sample without imports is a module too: its top level may await, and its names are its own.
        moduleDetection: "force",
      },
      include: ["**/*.ts"],
      // Without this the compiler leaves out its own output folder, which is where the sources are.
      exclude: [],
    }),
  );
}

/** Writes one group with other addresses than the readers'. Returns the text of each file. */
export function writeGroup(group: SampleGroup, addresses: Addresses): void {
  const files = new Map<string, string>();
  for (const sample of group.samples) {
    const file = fileOf(sample);
    if (file !== undefined) files.set(file, `${(files.get(file) ?? "") + withAddresses(sample.text, addresses)}\n`);
  }
  for (const [file, text] of files) {
    const path = join(folderOf(group), file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

export function withAddresses(text: string, { amqp, redis, api }: Addresses): string {
  return text
    .replace(/amqp:\/\/(?:guest:guest@)?localhost(?::5672)?(?:\/\/)?/g, (found) => amqp ?? found)
    .replace(/redis:\/\/localhost(?::6379)?(?:\/0)?/g, (found) => redis ?? found)
    .replace(/http:\/\/(?:guest:guest@)?localhost:15672/g, (found) => api ?? found);
}

/** Compiles everything under `folder`; complaints name the line of the Markdown file. Empty when all is well. */
export async function compile(groups: readonly SampleGroup[], folder = samplesRoot): Promise<string[]> {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = [compiler, "-p", join(samplesRoot, "tsconfig.json"), "--pretty", "false"];
  const tsc = await PeerProcess.start(process.execPath, { name: "tsc", args, cwd: folder });
  const { code } = await tsc.ended;
  if (code === 0) return [];
  return tsc
    .log()
    .trim()
    .split("\n")
    .map((line) => inDocument(line, groups, folder));
}

/** `quickstart/tasks.ts(3,5): error …` as `docs/quickstart.md:45: error …`. */
function inDocument(complaint: string, groups: readonly SampleGroup[], folder: string): string {
  const [, path, line, rest] = /^(\S+?)\((\d+),\d+\): (.*)$/.exec(complaint) ?? [];
  if (path === undefined) return complaint;
  for (const group of groups) {
    let before = 0;
    for (const sample of group.samples) {
      const file = fileOf(sample);
      if (file === undefined || relative(folder, join(folderOf(group), file)) !== path) continue;
      const length = sample.text.split("\n").length;
      if (Number(line) <= before + length) return `${sample.doc}:${sample.line + Number(line) - before - 1}: ${rest}`;
      before += length;
    }
  }
  return complaint;
}

/** Throws with every complaint in one message. */
export function refuse(complaints: readonly string[]): void {
  if (complaints.length > 0) throw new DocsError(complaints.join("\n"));
}
