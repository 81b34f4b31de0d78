/** `docs/compatibility.md` has several writers, the matrix and behind it each grid; each reads and writes its own part. */
import { readFile, writeFile } from "node:fs/promises";

const file = new URL("../../docs/compatibility.md", import.meta.url);

/** The line that each part begins with, in the order of the file; before the first of them stands the matrix. */
export const titles = {
  workflows: "## Workflows",
  pools: "## Pools, limits and revokes",
  control: "## Remote control",
  events: "## Events",
  mognet: "## Mognet 2.0.0",
} as const;

/** Parts that are tables of features. */
export type TablePart = "pools" | "control" | "events";

export type Part = "matrix" | keyof typeof titles;

const order = Object.keys(titles) as (keyof typeof titles)[];

async function parts(): Promise<Map<Part, string>> {
  const text = await readFile(file, "utf8").catch(() => "");
  const begins = order
    .map((part) => ({ part, at: text.indexOf(`\n${titles[part]}\n`) }))
    .filter(({ at }) => at >= 0)
    .toSorted((a, b) => a.at - b.at);
  const found = new Map<Part, string>([["matrix", text.slice(0, begins[0]?.at)]]);
  for (const [index, { part, at }] of begins.entries()) found.set(part, text.slice(at + 1, begins[index + 1]?.at));
  return found;
}

export async function readPart(part: Part): Promise<string> {
  return (await parts()).get(part) ?? "";
}

export async function writePart(part: Part, text: string): Promise<void> {
  const all = await parts();
  if (all.get(part) === text) return;
  all.set(part, text);
  const written = (["matrix", ...order] as const).map((name) => all.get(name)).filter((one) => one !== undefined);
  await writeFile(file, written.join("\n"));
}
