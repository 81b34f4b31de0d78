/** Whoever writes a function around one of ours can name the types of what goes in and comes out. */
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { exportsOf, mentionedBy, type Place } from "./declarations.ts";
import { root } from "./sample-folder.ts";

const entries = Object.entries(manifest.exports).flatMap(([name, entry]) =>
  typeof entry === "string" ? [] : [{ name, path: join(root, entry.types) }],
);
const everywhere = new Map(entries.map(({ name, path }) => [name, new Set(exportsOf(path))]));

/** The entries that every user imports one of. */
const apps = [".", "./mognet"];

const nameOf = (place: Place) => place.split("#")[1] ?? "";

/**
 * What the types are made of, and nobody has in hand: the table behind `Settings`, the bases of objects of options, the parameters of a
 * task as `protocol/binding.ts` knows them.
 */
const inner: ReadonlySet<string> = new Set(["Table", "Named", "FleetOptions", "PoolOptions", "Signature"]);

test.each(entries)("$name exports the types that its declarations mention, or those of apps do", ({ name }) => {
  const here = everywhere.get(name) ?? new Set<Place>();
  const isKnown = (place: Place) =>
    here.has(place) || apps.some((entry) => everywhere.get(entry)?.has(place)) || inner.has(nameOf(place));
  const missing = new Map<string, string>();
  for (const place of here) {
    for (const one of mentionedBy(place)) {
      if (!isKnown(one)) missing.set(relative(root, one), `is not exported, and in ${nameOf(place)}`);
    }
  }
  expect(Object.fromEntries(missing)).toEqual({});
});
