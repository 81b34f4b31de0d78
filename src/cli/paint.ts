/** Colours, where standard output is a terminal and nobody asked for none (`--no-color`, `NO_COLOR`). */
const CODES = { bold: 1, dim: 2, inverse: 7, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;

export type Paint = keyof typeof CODES;

export function paints(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR;
}

export function paint(as: Paint, text: string): string {
  return paints() ? `\u001b[${CODES[as]}m${text}\u001b[0m` : text;
}
