/** `docs/compatibility.md` has two writers, the matrix and behind it the canvas grid; each reads and writes its own part. */
import { readFile, writeFile } from "node:fs/promises";

const file = new URL("../../docs/compatibility.md", import.meta.url);

/** The grid's part begins with this line. */
export const workflowsTitle = "## Workflows";

export type Part = "matrix" | "workflows";

async function parts(): Promise<Record<Part, string>> {
  const text = await readFile(file, "utf8").catch(() => "");
  const at = text.indexOf(`\n${workflowsTitle}\n`);
  return at < 0 ? { matrix: text, workflows: "" } : { matrix: text.slice(0, at), workflows: text.slice(at + 1) };
}

export async function readPart(part: Part): Promise<string> {
  return (await parts())[part];
}

export async function writePart(part: Part, text: string): Promise<void> {
  const all = await parts();
  if (all[part] === text) return;
  all[part] = text;
  await writeFile(file, all.workflows === "" ? all.matrix : `${all.matrix}\n${all.workflows}`);
}
