/** Errbacks of chords inside the headers of chords, with `task_allow_error_cb_on_chord_header`. */
import { expect, test } from "vitest";
import { encodeSignature, type WireSignature } from "../signature.ts";
import { chordOf } from "./compose.ts";
import { errorLinked } from "./link.ts";

test("every task of nested headers is given an errback once in each form, however deep it stands", () => {
  const depth = 24;
  const errback = encodeSignature({ task: "alarm" });
  let nested: WireSignature = encodeSignature({ task: "innermost" });
  for (let level = 0; level < depth; level++) nested = chordOf([nested], encodeSignature({ task: "body" }));

  let told = errorLinked(nested, errback, true);
  for (let level = 0; level < depth; level++) {
    const { body, header } = told.kwargs as { body: WireSignature; header: WireSignature[] };
    const plain = level === 0 ? [errback] : [{ ...errback, options: { immutable: true } }, errback];
    expect(body.options.link_error).toEqual(plain);
    told = header[0] ?? expect.fail("a header has a member");
  }
  expect(told.options.link_error).toEqual([{ ...errback, options: { immutable: true } }]);
});
