/** Every sample of the README and the documentation does what it says. `extract.ts` explains how samples are marked. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { PeerProcess, testService } from "../../src/testing/index.ts";
import { extractSamples, groupSamples } from "./extract.ts";
import { runGroup } from "./run-group.ts";
import { compile, fileOf, folderOf, refuse, root, writeSamples } from "./sample-folder.ts";

const documents = [
  "README.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).map((path) => join("docs", path)),
].filter((path) => path.endsWith(".md") && existsSync(join(root, path)));
const groups = groupSamples(documents.flatMap((doc) => extractSamples(doc, readFileSync(join(root, doc), "utf8"))));
const python = testService("LOVAGE_TEST_PYTHON");

beforeAll(() => writeSamples(groups));

test("every TypeScript sample compiles", async () => {
  refuse(await compile(groups));
});

test.skipIf(!python)("every Python sample compiles", async () => {
  const files = groups.flatMap((group) =>
    group.samples
      .filter(({ language, output }) => language === "python" && !output)
      .map((sample) => join(folderOf(group), fileOf(sample) as string)),
  );
  if (files.length === 0) return;
  const peer = await PeerProcess.start(python as string, { args: ["-m", "py_compile", ...new Set(files)] });
  expect(await peer.ended, peer.log()).toEqual({ code: 0, signal: null });
});

describe.skipIf(!python)("runs as written", () => {
  const runnable = groups.filter(({ samples }) => samples.some(({ run }) => run));
  for (const group of runnable) test(`${group.doc}: ${group.name}`, () => runGroup(group));
});
