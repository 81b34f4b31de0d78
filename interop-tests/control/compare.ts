/** One case, asked by everyone, and what has to agree. */
import { expect } from "vitest";
import { type Answers, both, celery, celeryAsks, type Heard, lovage, type Panel, weAsk } from "./ask.ts";
import type { ControlCase } from "./cases.ts";
import { type Fleet, shapeOf } from "./fleet.ts";

/** The tree without the members at these dotted paths. */
function without(tree: unknown, paths: readonly string[]): unknown {
  if (paths.length === 0 || typeof tree !== "object" || tree === null || Array.isArray(tree)) return tree;
  const left: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(tree)) {
    if (paths.includes(name)) continue;
    const below = paths.filter((path) => path.startsWith(`${name}.`)).map((path) => path.slice(name.length + 1));
    left[name] = without(member, below);
  }
  return left;
}

export async function compareCase(fleet: Fleet, one: ControlCase, panel: Panel): Promise<void> {
  const { command, given = {}, wears = false, lines, ours } = one;
  const alike = ours === undefined ? (one.alike ?? "value") : "kind";
  const apart = Object.keys(one.apart ?? {});
  const { ts, py } = fleet;
  const nodes = both(fleet).sort();
  const counted = (value: unknown) =>
    lines === undefined ? value : (value as string[]).filter((line) => lines.test(line));
  const known = <T>(answers: Answers<T>, who: string) => {
    expect(Object.keys(answers).sort(), `${who}: who answered`).toEqual(nodes);
    return { ts: answers[ts] as T, py: answers[py] as T };
  };

  const heard = known<Heard>(await celeryAsks(fleet, command, given), "Celery's client");
  if (alike === "value") expect(counted(heard.ts.value), "ours beside Python's").toEqual(counted(heard.py.value));
  if (ours === undefined) {
    expect(without(heard.ts.kind, apart), "members and types of ours").toEqual(without(heard.py.kind, apart));
  } else expect(heard.ts.value).toMatch(ours);

  /** What was read elsewhere is what Celery's client read; of what changes by itself, the shape. */
  const same = (read: { ts: unknown; py: unknown }, who: string) => {
    if (alike === "value") expect(counted(read.ts), `${who}: ours beside Python's`).toEqual(counted(read.py));
    for (const node of ["ts", "py"] as const) {
      const [left, right] = [read[node], heard[node].value];
      if (alike === "value" && !wears) expect(left, `${who}, ${node}`).toEqual(right);
      else expect(shapeOf(without(left, apart)), `${who}, ${node}`).toEqual(shapeOf(without(right, apart)));
    }
  };
  same(known(await weAsk(fleet, command, given), "our client"), "our client");

  const words = wordsOf(one, panel);
  if (words === null) return;
  const asked = [...words, "-d", both(fleet).join(","), "-t", "30"];
  const read = { celery: await celery(fleet, ...asked, "--json"), lovage: await lovage(fleet, ...asked, "--json") };
  for (const [program, { code, stdout, stderr }] of Object.entries(read)) {
    expect({ code, stderr }, program).toEqual({ code: 0, stderr: "" });
    const document: unknown = JSON.parse(stdout.replaceAll(/\bInfinity\b/g, '"inf"'));
    const answers = Array.isArray(document) ? Object.assign({}, ...document) : document;
    expect(Array.isArray(document), `${program}: a list`).toBe(words[0] === "control");
    same(known(answers as Answers<unknown>, program), program);
  }
  if (alike !== "value" || wears) return;
  for (const node of both(fleet)) {
    const one = [...words, "-d", node, "-t", "30"];
    expect(await lovage(fleet, ...one), `as text, of ${node}`).toEqual(await celery(fleet, ...one));
  }
}

/** `inspect active`, or null where Celery's command line cannot say it. */
function wordsOf({ command, given, words }: ControlCase, panel: Panel): readonly string[] | null {
  const meta = panel.known[command] as { kind?: string; visible?: boolean } | undefined;
  if (meta?.kind === undefined || meta.visible === false || words === null) return null;
  if (words === undefined && given !== undefined) return null;
  return [meta.kind, command, ...(words ?? [])];
}
