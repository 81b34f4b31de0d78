import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { DecodeError } from "../errors.ts";
import { decodeJson, encodeJson } from "../json.ts";
import type { Message } from "../message.ts";
import { jsonSerializer } from "../serialization.ts";
import { PyFloat } from "../values.ts";
import { ChainRest, ChainTail, decodeTaskBody } from "./chain-tail.ts";
import { encodeSignature, type WireSignature } from "./signature.ts";
import { encodeTask, readTask } from "./task-message.ts";

const options = { maxDepth: 1000, floats: "keep" } as const;
const link = (args: readonly unknown[], more: Partial<WireSignature> = {}): WireSignature =>
  encodeSignature({ task: "add", args, options: { task_id: "an-id", reply_to: "oid" }, ...more });
const bodyOf = (
  chain: readonly unknown[],
  embed: Record<string, unknown> = {},
  args: unknown = [1],
  kwargs: unknown = {},
) => encodeJson([args, kwargs, { callbacks: null, errbacks: null, chain, chord: null, ...embed }]);
const padding = Array.from({ length: 60 }, () => link(["padding"]));

/** What the body holds when all of it is decoded. */
function whole(text: string): unknown {
  const body = decodeTaskBody(text, options);
  if (!Array.isArray(body)) return body;
  const { chain } = body[2];
  return [
    body[0],
    body[1],
    { ...body[2], chain: chain instanceof ChainTail ? [...chain.rest.links(), chain.next] : chain },
  ];
}

const isTailed = (text: string) => {
  const body = decodeTaskBody(text, options);
  return Array.isArray(body) && body[2].chain instanceof ChainTail;
};

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a long chain in a body", () => {
  const nasty = fc.oneof(
    fc.constantFrom<unknown>(
      '"',
      "\\",
      '\\"',
      "]",
      "[",
      "}, {",
      '"chain": [',
      '], "chord": null}]',
      ", ",
      "é",
      "\ud800",
      new PyFloat(1),
    ),
    fc.jsonValue(),
    fc.string(),
  );

  test("is the same whether its links are read or not", () => {
    fc.assert(
      fc.property(fc.array(nasty, { maxLength: 4 }), fc.array(nasty, { maxLength: 4 }), nasty, (args, last, value) => {
        const text = bodyOf([link(args), ...padding, link(last)], {}, [value], { value });
        expect(whole(text)).toEqual(decodeJson(text, options));
        expect(isTailed(text)).toBe(true);
      }),
    );
  });

  test.each([
    ["a short chain", bodyOf([link([1]), link([2])])],
    ["one long link", bodyOf([link(["x".repeat(10_000)])])],
    ["a part of a chord behind", bodyOf([link([1], { options: { chord: link([]) } }), ...padding, link([2])])],
    ["a chord behind", bodyOf([link([1], { subtask_type: "chord" }), ...padding, link([2])])],
    ["a body of a chord", bodyOf([...padding, link([2])], { chord: link([]) })],
    ["other members", encodeJson([[], {}, { chain: [...padding, link([1])], chord: null }])],
    ["another notation", JSON.stringify([[], {}, { callbacks: null, errbacks: null, chain: padding, chord: null }])],
    ["something that looks like it among the arguments", bodyOf([], {}, [{ chain: padding }])],
    ["no body", encodeJson({ callbacks: null, errbacks: null, chain: padding, chord: null })],
  ])("%s is read as a whole", (_what, text) => {
    expect(isTailed(text)).toBe(false);
    expect(decodeTaskBody(text, options)).toEqual(decodeJson(text, options));
  });

  test.each([
    ["arguments", (text: string) => text.replace("[[1]", "[[1}")],
    [
      "the last link",
      (text: string) => text.replace(/"task": "add"([^{]*\{[^}]*\}[^}]*\{[^}]*\}[^}]*\}\], "chord")/, '"task": add$1'),
    ],
    ["the end", (text: string) => text.slice(0, -1)],
  ])("what is no JSON in %s is refused at once", (_where, broken) => {
    const text = broken(bodyOf([...padding, link([2])]));
    expect(() => decodeTaskBody(text, options)).toThrow(DecodeError);
  });

  test("a link that is no JSON is refused when it is its turn", () => {
    const text = bodyOf([link([1]), ...padding, link([2])]).replace('"args": [1]', '"args": [1}');
    const body = decodeTaskBody(text, options);
    const chain = Array.isArray(body) ? body[2].chain : null;
    expect(chain.next).toMatchObject({ args: [2] });
    expect(() => chain.rest.links()).toThrow(DecodeError);
  });
});

describe("a chain of a thousand links", () => {
  const links = Array.from({ length: 1_000 }, (_, n) => link([n]));

  /** What one worker after the other does with it. */
  function walk(): { args: unknown[]; parsed: number; received: number } {
    const parse = vi.spyOn(JSON, "parse");
    const args: unknown[] = [];
    let received = 0;
    let chain: readonly WireSignature[] | ChainRest | null = links;
    let next: readonly unknown[] = ["first"];
    while (chain !== null && (chain instanceof ChainRest || chain.length > 0)) {
      const message: Message = encodeTask({
        task: "add",
        id: "id",
        origin: "o",
        args: [...next],
        embed: { chain },
        serializer: jsonSerializer,
      });
      const text = new TextDecoder().decode(message.body);
      received += text.length;
      const { embed } = readTask(message, decodeTaskBody(text, options));
      const following: WireSignature | undefined = embed.tail?.next ?? embed.chain?.at(-1);
      args.push(following?.args[0]);
      next = following?.args ?? [];
      chain = embed.tail ? embed.tail.rest : (embed.chain?.slice(0, -1) ?? null);
    }
    const parsed = parse.mock.calls.reduce((sum, [text]) => sum + text.length, 0);
    return { args, parsed, received };
  }

  test("arrives whole and in its order, and is parsed once, not once for each link", () => {
    const { args, parsed, received } = walk();
    expect(args).toEqual(links.map((_, n) => 999 - n));
    const length = encodeJson(links).length;
    expect(received).toBeGreaterThan(400 * length);
    // Besides its link, each body has arguments and the names of its embed.
    expect(parsed).toBeLessThan(3 * length);
  });
});
