import { expect, test } from "vitest";
import { DocsError } from "./docs-error.ts";
import { extractSamples, groupSamples } from "./extract.ts";
import { compareOutput } from "./run-group.ts";
import { withAddresses } from "./sample-folder.ts";

const markdown = `
# Title

\`\`\`ts file=a.ts group=g
const a = 1;
\`\`\`

- in a list:
  \`\`\`typescript continues
  const b = 2;
  \`\`\`

<!--
\`\`\`sh run background until="is ready" group=g
serve
\`\`\`
-->

\`\`\`python
x = 1
\`\`\`

\`\`\`python
y = 1
\`\`\`
`;

test("finds samples with their lines, also indented and hidden ones, and joins continuations", () => {
  const groups = groupSamples(extractSamples("doc.md", markdown));
  expect(groups.map(({ name, samples }) => [name, samples.length])).toEqual([
    ["g", 2],
    ["loose-1", 1],
    ["loose-2", 1],
  ]);
  const [code, shell] = groups[0]?.samples ?? [];
  expect(code).toMatchObject({ line: 5, language: "ts", file: "a.ts", text: "const a = 1;\nconst b = 2;", run: false });
  expect(shell).toMatchObject({ run: true, background: true, until: "is ready", text: "serve" });
});

test("refuses what is written wrongly, with its place", () => {
  expect(() => extractSamples("doc.md", "text\n```ts ruun\n```")).toThrow('doc.md:2: unknown word "ruun"');
  expect(() => extractSamples("doc.md", "```ts\n")).toThrow("doc.md:1: a code block without end");
  expect(() => groupSamples(extractSamples("doc.md", "```ts continues\n```"))).toThrow(DocsError);
});

test("reads … as any text in a line and as any lines of output", () => {
  const output = (text: string) => ({
    ...groupSamples(extractSamples("d.md", `\`\`\`text output\n${text}\n\`\`\``))[0]!.samples[0]!,
  });
  const printed = "start\n  took 12 ms (ok)\nmore\nend\n";
  expect(() => compareOutput(output("took … ms (ok)\n…\nend"), printed)).not.toThrow();
  expect(() => compareOutput(output("start\nend"), printed)).toThrow("but was");
  expect(() => compareOutput(output("start"), undefined)).toThrow("no step ran");
});

test("writes a test's addresses in place of the reader's", () => {
  const text = 'broker: "amqp://guest:guest@localhost:5672//", backend: "redis://localhost:6379/0"';
  expect(withAddresses(text, { amqp: "amqp://x", redis: "redis://y" })).toBe(
    'broker: "amqp://x", backend: "redis://y"',
  );
});
