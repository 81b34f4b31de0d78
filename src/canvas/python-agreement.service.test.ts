/**
 * Random expressions built by Celery and here: the JSON must be the same text.
 * `LOVAGE_TEST_PYTHON` names an interpreter with Celery 5.7; `LOVAGE_TEST_SEED` repeats a run.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { LovageError } from "../../protocol/errors.ts";
import { encodeJson } from "../../protocol/json.ts";
import { task } from "../tasks/definition.ts";
import type { Signature, StampingVisitor } from "../tasks/signature.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
import { group } from "./group.ts";
import { signature } from "./signature-from.ts";

const python = process.env.LOVAGE_TEST_PYTHON;
const seed = Number(process.env.LOVAGE_TEST_SEED ?? 20300102);
const script = fileURLToPath(new URL("../../python-fixtures/check_canvas_building.py", import.meta.url));
const COUNT = 2_000;
const SHOWN = 3;

type Loose = Signature<unknown[], unknown>;
interface Case {
  made: unknown[];
  text?: string;
  error?: string;
}

const tasks: Record<string, ReturnType<typeof task>> = { add: task("add"), total: task("total") };
/** As someone without types would call them. */
const loose: Record<string, unknown> = { chain, group, chord };
const made = (op: string, ...parts: unknown[]) => (loose[op] as (...parts: unknown[]) => Loose)(...parts);

const visitor: StampingVisitor = {
  onSignature: (one) => ({ sig: one.task, count: 1 }),
  onGroupStart: (one) => ({ in_group: (one.kwargs.tasks as unknown[]).length }),
  onChainStart: () => ({ in_chain: true, plain: 3, stamped_headers: ["in_chain"] }),
  onChordBody: () => ({ body: "b" }),
  onCallback: (one) => ({ callback: one.task }),
  onErrback: (one) => ({ errback: one.task }),
};

function build(expression: unknown): Loose {
  const [op, a, b, c, d, e] = expression as [string, never, never, never, never, never];
  switch (op) {
    case "s":
      return signature(a, { args: b, kwargs: c, options: d, immutable: e });
    case "map":
      return tasks[a]!.map(b);
    case "starmap":
      return tasks[a]!.starmap(b);
    case "chunks":
      return tasks[a]!.chunks(b, c) as Signature<unknown[], unknown, never> as Loose;
    case "chain":
    case "group":
      return made(op, (a as unknown[]).map(build));
    case "chain1":
      return made("chain", build(a));
    case "group1":
      return made("group", build(a));
    case "chord":
      return made("chord", (a as unknown[]).map(build), build(b));
  }
  const first = build(a);
  switch (op) {
    case "chordOf":
      return made("chord", first, build(b));
    case "pipe":
      return first.pipe(build(b)) as Loose;
    case "link":
      return first.link(build(b));
    case "linkError":
      return first.linkError(build(b));
    case "set":
      return first.set(b);
    case "immutable":
      return first.set({ immutable: b });
    case "clone":
      return first.clone({ args: b, kwargs: c, options: d });
    case "stamp":
      return first.stamp(b, { append: c });
    default:
      return first.stampWith(visitor, { stamps: b, append: c });
  }
}

/**
 * Python's order of stamped headers changes from run to run, a list of them that parts share may name those of its neighbours, and a
 * header that is a group becomes a list with the next copy.
 */
function comparable(text: string): string {
  return JSON.stringify(JSON.parse(text), (key, value) => {
    if (key === "options" && Array.isArray(value.stamped_headers)) {
      return { ...value, stamped_headers: value.stamped_headers.filter((name: string) => name in value).sort() };
    }
    return key === "header" && value?.task === "celery.group" ? value.kwargs.tasks : value;
  });
}

function ours({ made }: Case): string {
  try {
    return encodeJson(build(made));
  } catch (error) {
    if (error instanceof LovageError) return `refused: ${error.message}`;
    throw error;
  }
}

if (python === undefined && process.env.CI === "true") {
  test("LOVAGE_TEST_PYTHON must be set in CI", () => expect(python).toBeDefined());
}

describe.skipIf(python === undefined)(`signatures as Celery builds them (seed ${seed})`, () => {
  let cases: Case[] = [];

  beforeAll(() => {
    const run = spawnSync(python as string, [script, String(seed), String(COUNT)], {
      encoding: "utf8",
      maxBuffer: 2 ** 30,
    });
    expect(run.status, run.stderr).toBe(0);
    cases = run.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Case);
  });

  test("the same JSON text", () => {
    const built = cases.filter((one) => one.text !== undefined);
    expect(built.length).toBeGreaterThan(COUNT / 2);
    const differing = built.filter((one) => {
      const text = ours(one);
      const stamped = one.text?.includes("stamped_headers");
      return (
        text !== one.text &&
        !(stamped && !text.startsWith("refused") && comparable(text) === comparable(one.text ?? ""))
      );
    });
    expect(
      differing.slice(0, SHOWN).map((one) => ({ made: JSON.stringify(one.made), text: ours(one) })),
      `${differing.length} of ${built.length} differ`,
    ).toEqual(differing.slice(0, SHOWN).map((one) => ({ made: JSON.stringify(one.made), text: one.text })));
  });
});
