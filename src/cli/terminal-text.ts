/** Strangers' texts on a terminal: how wide they are there, and nothing in them that steers it. */

/** Two cells, as terminals show them: East Asian wide and full-width forms, and emoji. source: Unicode UAX 11 and UTS 51. */
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{18aff}\u{1b000}-\u{1b2ff}\u{1f200}-\u{1f2ff}\u{20000}-\u{3fffd}]/u;
/** None: they stand on the character before them. */
const COMBINING = /[\p{Mn}\p{Me}]/u;
/** All of them have one cell. */
const PLAIN = /^[\x20-\x7e]*$/;

function cellsOf(character: string): number {
  if (WIDE.test(character)) return 2;
  return COMBINING.test(character) ? 0 : 1;
}

/** As much of a text as fits, and how many cells that takes. */
function fitting(text: string, width: number): { readonly text: string; readonly cells: number } {
  if (PLAIN.test(text)) {
    const kept = text.slice(0, Math.max(0, width));
    return { text: kept, cells: kept.length };
  }
  let [kept, cells] = ["", 0];
  for (const character of text) {
    const more = cellsOf(character);
    if (cells + more > width) break;
    kept += character;
    cells += more;
  }
  return { text: kept, cells };
}

/** No more of a text than so many cells. */
export function cut(text: string, width: number): string {
  return fitting(text, width).text;
}

/** A text cut, or filled up with blanks, to exactly so many cells. */
export function fill(text: string, width: number): string {
  const { text: kept, cells } = fitting(text, width);
  return kept + " ".repeat(Math.max(0, width - cells));
}

/** One line; what a task returned must not steer the terminal. */
export function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}]/gu, " ");
}

/** Lines of text; what a worker says must not steer the terminal. */
export function cleanLines(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, " ");
}
