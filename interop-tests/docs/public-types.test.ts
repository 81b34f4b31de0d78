/** Whoever writes a function around one of ours can name the types of what goes in and comes out, and read what each is. */
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { docsOf, exportsOf, mentionedBy, type Place } from "./declarations.ts";
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

test.each(entries)("$name says of everything that it exports what it is", ({ name }) => {
  const silent = [...(everywhere.get(name) ?? [])].filter((place) => docsOf(place) === "");
  expect(silent.map((place) => relative(root, place))).toEqual([]);
});

test.each(entries)("$name exports the errors that its comments name, or those of apps do", ({ name }) => {
  const exported = new Set([name, ...apps].flatMap((entry) => Array.from(everywhere.get(entry) ?? [], nameOf)));
  const said = [...(everywhere.get(name) ?? [])].flatMap((place) =>
    Array.from(docsOf(place).matchAll(/\bthrows? `([A-Z]\w+[a-z]\w*)`/gi), ([, error = ""]) => ({
      error,
      in: nameOf(place),
    })),
  );
  expect(said.filter(({ error }) => !exported.has(error))).toEqual([]);
});
