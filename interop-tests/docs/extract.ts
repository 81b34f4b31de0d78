/**
 * Finds the samples of a Markdown file. What a sample is for stands in its info string, after the language:
 *
 *   ```ts                                     is type-checked as a module of its own
 *   ```ts continues                           is appended to the sample of that language before it, and checked with it
 *   ```ts file=tasks.ts group=quickstart      is a file in the folder of a group, checked with the others there
 *   ```ts run group=quickstart                is also run; it must end with code 0
 *   ```python run group=quickstart            likewise; a Python sample that is not run must at least compile
 *   ```sh run group=quickstart                is run by bash; without `run` it is only text
 *   ```sh run background until="ready" …      keeps running until its group ends; the next step waits for that text
 *   ```text output group=quickstart           is what the step before printed; a line `…` stands for any lines
 *
 * A sample inside an HTML comment counts too: that hides the part of a set-up that a reader does not need.
 */
import { DocsError } from "./docs-error.ts";

export interface Sample {
  /** Path of the Markdown file, relative to the repository. */
  doc: string;
  /** Line number of the first line of code, from 1. */
  line: number;
  language: string;
  text: string;
  group: string;
  file?: string;
  run: boolean;
  background: boolean;
  until?: string;
  continues: boolean;
  output: boolean;
}

const aliases: Readonly<Record<string, string>> = {
  typescript: "ts",
  javascript: "js",
  py: "python",
  bash: "sh",
  shell: "sh",
  console: "sh",
};
const flags = new Set(["run", "background", "continues", "output"]);
const values = new Set(["group", "file", "until"]);

export function extractSamples(doc: string, markdown: string): Sample[] {
  const samples: Sample[] = [];
  const lines = markdown.split("\n");
  let loose = 0;
  for (let index = 0; index < lines.length; index++) {
    const opening = /^(\s*)(`{3,}|~{3,})\s*(\S*)\s*(.*)$/.exec(lines[index] ?? "");
    if (!opening) continue;
    const [, indent = "", fence = "", name = "", info = ""] = opening;
    const close = lines.findIndex((line, at) => at > index && line.trim() === fence);
    if (close < 0) throw new DocsError(`${doc}:${index + 1}: a code block without end`);
    const language = aliases[name] ?? name;
    const told = parseInfo(info, `${doc}:${index + 1}`);
    if (told.group === undefined && !told.continues) loose++;
    samples.push({
      doc,
      language,
      line: index + 2,
      text: lines
        .slice(index + 1, close)
        .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
        .join("\n"),
      ...told,
      group: told.group ?? `loose-${loose}`,
    });
    index = close;
  }
  return samples;
}

function parseInfo(info: string, where: string) {
  const told: {
    group?: string;
    file?: string;
    until?: string;
    run: boolean;
    background: boolean;
    continues: boolean;
    output: boolean;
  } = { run: false, background: false, continues: false, output: false };
  for (const [, key = "", quoted, plain] of info.matchAll(/(\w+)(?:=(?:"([^"]*)"|(\S+)))?/g)) {
    const value = quoted ?? plain;
    if (value === undefined && flags.has(key)) told[key as "run"] = true;
    else if (value !== undefined && values.has(key)) told[key as "group"] = value;
    else throw new DocsError(`${where}: unknown word "${key}" after the language of a code block`);
  }
  return told;
}

/** The samples of one document that share a folder, in their order, with continuations joined to what they continue. */
export interface SampleGroup {
  name: string;
  doc: string;
  samples: Sample[];
}

/** Groups are numbered by document: two documents may use one name for different things. */
export function groupSamples(samples: readonly Sample[]): SampleGroup[] {
  const groups = new Map<string, SampleGroup>();
  const latest = new Map<string, Sample>();
  for (const sample of samples) {
    if (sample.continues) {
      const earlier = latest.get(`${sample.doc} ${sample.language}`);
      if (!earlier) throw new DocsError(`${sample.doc}:${sample.line}: continues nothing`);
      earlier.text += `\n${sample.text}`;
      earlier.run ||= sample.run;
      continue;
    }
    const key = `${sample.doc} ${sample.group}`;
    const group = groups.get(key) ?? { name: sample.group, doc: sample.doc, samples: [] };
    groups.set(key, group);
    const own = { ...sample };
    group.samples.push(own);
    latest.set(`${sample.doc} ${sample.language}`, own);
  }
  return [...groups.values()];
}
