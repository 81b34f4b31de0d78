/**
 * What the package's declaration files declare and which of it they export, as far as names go: enough to tell which types a public
 * signature mentions. It reads what `tsc` writes, one top-level declaration after the other, and is no parser of TypeScript.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** A name in a file. */
export type Place = `${string}#${string}`;

interface Declarations {
  /** The text of each declaration, without what is `@internal`. */
  readonly texts: ReadonlyMap<string, string>;
  /** What is said of each, and inside of it; empty: nothing is said of it. */
  readonly docs: ReadonlyMap<string, string>;
  /** Names that the file has from elsewhere, or passes on, and where they stand. */
  readonly imports: ReadonlyMap<string, Place>;
  readonly exports: ReadonlyMap<string, Place>;
  readonly stars: readonly string[];
}

const comment = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm;
const internalMember =
  /^( +)\/\*\*(?:(?!\*\/)[\s\S])*@internal(?:(?!\*\/)[\s\S])*\*\/\n(?:(?!\1\S.*;$).*\n)*\1\S.*;$/gm;
const list = /^(import|export)\s+(?:type\s+)?\{([^}]*)\}(?:\s*from\s*"([^"]+)")?/gm;
const star = /^export\s+(?:type\s+)?\*\s+from\s*"([^"]+)"/gm;
const beginning = /^(export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const) (\w+)/gm;

const read = new Map<string, Declarations>();

function declarationsOf(path: string): Declarations {
  const known = read.get(path);
  if (known !== undefined) return known;
  const written = readFileSync(path, "utf8").replace(internalMember, "");
  const text = written.replace(comment, "");
  const target = (module: string) => resolve(dirname(path), module).replace(/\.[jt]s$/, ".d.ts");
  const imports = new Map<string, Place>();
  const exports = new Map<string, Place>();
  for (const [, keyword, names = "", from] of text.matchAll(list)) {
    for (const item of names.split(",")) {
      const [, name = "", alias = name] = /^\s*(?:type\s+)?(\w+)(?:\s+as\s+(\w+))?\s*$/.exec(item) ?? [];
      if (name === "" || from?.startsWith(".") === false) continue;
      const at = from === undefined ? path : target(from);
      (keyword === "import" ? imports : exports).set(alias, `${at}#${name}`);
    }
  }
  const texts = new Map<string, string>();
  const tops = Array.from(text.matchAll(/^[^\s})\];]/gm), ({ index }) => index);
  for (const { index, 1: exported, 2: name = "" } of text.matchAll(beginning)) {
    const end = tops.find((top) => top > index);
    texts.set(name, (texts.get(name) ?? "") + text.slice(index, end));
    if (exported !== undefined) exports.set(name, `${path}#${name}`);
  }
  const docs = new Map<string, string>();
  const beginnings = Array.from(written.matchAll(/^[^\s})\];]/gm), ({ index }) => index);
  for (const { index, 2: name = "" } of written.matchAll(beginning)) {
    const before = written.slice(0, index).trimEnd();
    const head = before.endsWith("*/") ? before.slice(before.lastIndexOf("/**")) : "";
    const inside =
      written
        .slice(
          index,
          beginnings.find((next) => next > index),
        )
        .match(comment) ?? [];
    if (head !== "" || !docs.has(name)) docs.set(name, head === "" ? "" : [head, ...inside].join("\n"));
  }
  const stars = Array.from(text.matchAll(star), ([, module = ""]) => target(module));
  const made = { texts, docs, imports, exports, stars };
  read.set(path, made);
  return made;
}

const split = (place: Place): [path: string, name: string] => {
  const at = place.lastIndexOf("#");
  return [place.slice(0, at), place.slice(at + 1)];
};

/** Where a name is declared; null where nobody of ours does. */
function origin(place: Place): Place | null {
  const [path, name] = split(place);
  const { texts, imports, exports, stars } = declarationsOf(path);
  if (texts.has(name)) return place;
  const next = exports.get(name) === place ? imports.get(name) : (exports.get(name) ?? imports.get(name));
  if (next !== undefined) return origin(next);
  for (const other of stars) {
    const found = origin(`${other}#${name}`);
    if (found !== null) return found;
  }
  return null;
}

/** What an entry of the package exports, by where it is declared. */
export function exportsOf(path: string): Place[] {
  const { exports, stars } = declarationsOf(path);
  const own = Array.from(exports.values(), origin).filter((place) => place !== null);
  return [...own, ...stars.flatMap(exportsOf)];
}

/** What a declaration's comments say; empty when there is none above it. */
export function docsOf(place: Place): string {
  const [path, name] = split(place);
  return declarationsOf(path).docs.get(name) ?? "";
}

/** The types that a declaration mentions. Aliases with parameters are left out: they compute a type that has a name of its own. */
export function mentionedBy(place: Place): Place[] {
  const [path, self] = split(place);
  const { texts, imports } = declarationsOf(path);
  const names = new Set(Array.from((texts.get(self) ?? "").matchAll(/\b[A-Z]\w*[a-z]\w*\b/g), ([name]) => name));
  names.delete(self);
  return [...names].flatMap((name) => {
    const found = texts.has(name) || imports.has(name) ? origin(`${path}#${name}`) : null;
    if (found === null) return [];
    const [file, original] = split(found);
    return /^(?:export )?(?:declare )?type \w+</.test(declarationsOf(file).texts.get(original) ?? "") ? [] : [found];
  });
}
