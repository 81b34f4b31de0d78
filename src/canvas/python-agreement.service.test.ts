/** Random expressions built by Celery and here: the JSON must be the same text. */
import { beforeAll, describe, expect, test } from "vitest";
import { expectNone, hasPython, pythonCases, seed } from "../../protocol/celery/canvas/python-cases.contract.ts";
import { LovageError } from "../../protocol/errors.ts";
import { encodeJson } from "../../protocol/json.ts";
import { task } from "../tasks/definition.ts";
import type { Signature, StampingVisitor } from "../tasks/signature.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
import { group } from "./group.ts";
import { signature } from "./signature-from.ts";

const COUNT = 2_000;

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

describe.skipIf(!hasPython)(`signatures as Celery builds them (seed ${seed})`, () => {
  let cases: Case[] = [];
  beforeAll(() => {
    cases = pythonCases("check_canvas_building.py", COUNT);
  });

  test("the same JSON text", () => {
    const built = cases.filter((one) => one.text !== undefined);
    expect(built.length).toBeGreaterThan(COUNT / 2);
    const answers = built.map((one) => ({ one: one.made, ours: ours(one), theirs: one.text ?? "" }));
    const differing = answers.filter(({ ours: text, theirs }) => {
      if (text === theirs) return false;
      const stamped = theirs.includes("stamped_headers") && !text.startsWith("refused");
      return !(stamped && comparable(text) === comparable(theirs));
    });
    expectNone(differing, built.length);
  });
});
