/**
 * Python's `fnmatch` patterns: `*`, `?`, `[seq]`, `[!seq]`, case-sensitive, the whole name. Matched by hand instead of by a
 * regular expression, so that no pattern can take exponential time. wire: fnmatch.translate, as celery/app/routes.py uses it.
 */

type Piece = { star: true } | { star: false; matches: (char: string) => boolean };

const STAR: Piece = { star: true };
const ANY: Piece = { star: false, matches: () => true };
const NONE: Piece = { star: false, matches: () => false };

/** A test for names. Characters are code points, as in Python. */
export function fnmatch(pattern: string): (name: string) => boolean {
  const pieces = parse([...pattern]);
  return (name) => matchAll(pieces, [...name]);
}

function matchAll(pieces: readonly Piece[], name: readonly string[]): boolean {
  let at = 0;
  let piece = 0;
  // Where to go on when a later piece fails: the last star takes one character more.
  let starPiece = -1;
  let starAt = 0;
  while (at < name.length) {
    const current = pieces[piece];
    if (current?.star) {
      starPiece = piece++;
      starAt = at;
    } else if (current?.star === false && current.matches(name[at]!)) {
      piece++;
      at++;
    } else if (starPiece >= 0) {
      piece = starPiece + 1;
      at = ++starAt;
    } else return false;
  }
  while (pieces[piece]?.star) piece++;
  return piece === pieces.length;
}

function parse(chars: readonly string[]): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  while (at < chars.length) {
    const char = chars[at++]!;
    if (char === "*") {
      if (pieces.at(-1) !== STAR) pieces.push(STAR);
    } else if (char === "?") pieces.push(ANY);
    else if (char === "[") {
      const end = endOfSet(chars, at);
      if (end < 0) pieces.push(literal(char));
      else {
        pieces.push(setOf(chars.slice(at, end)));
        at = end + 1;
      }
    } else pieces.push(literal(char));
  }
  return pieces;
}

function literal(char: string): Piece {
  return { star: false, matches: (other) => other === char };
}

/** A `]` right after `[` or `[!` belongs to the set. */
function endOfSet(chars: readonly string[], from: number): number {
  let at = from;
  if (chars[at] === "!") at++;
  if (chars[at] === "]") at++;
  return chars.indexOf("]", at);
}

function setOf(content: readonly string[]): Piece {
  const negated = content[0] === "!";
  const { singles, ranges } = membersOf(negated ? content.slice(1) : content);
  // Ranges that run backwards are dropped; what is left empty matches nothing, or negated anything.
  if (singles.size === 0 && ranges.length === 0) return negated ? ANY : NONE;
  const has = (char: string) => {
    const code = char.codePointAt(0)!;
    return singles.has(char) || ranges.some(([low, high]) => code >= low && code <= high);
  };
  return { star: false, matches: negated ? (char) => !has(char) : has };
}

function membersOf(content: readonly string[]): { singles: Set<string>; ranges: [number, number][] } {
  const singles = new Set<string>();
  const ranges: [number, number][] = [];
  let at = 0;
  while (at < content.length) {
    const char = content[at]!;
    const to = content[at + 2];
    if (content[at + 1] === "-" && to !== undefined) {
      const [low, high] = [char.codePointAt(0)!, to.codePointAt(0)!];
      if (low <= high) ranges.push([low, high]);
      at += 3;
    } else {
      singles.add(char);
      at++;
    }
  }
  return { singles, ranges };
}
