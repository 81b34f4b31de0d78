/** The short text of a request's arguments that its result shows. wire: Mognet 2.0.0 tools/kwargs_repr.py. */
import { pyRepr } from "../python-repr.ts";

/** Python's `repr` of each argument, cut at 64 characters, joined by commas. It shows secrets: preset `kwargsRepr` to hide them. */
export function mognetKwargsRepr(
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  maxLength = 64,
): string {
  const parts = args.map((value) => shortRepr(value, maxLength));
  for (const [name, value] of Object.entries(kwargs)) {
    if (value !== undefined) parts.push(`${name}=${shortRepr(value, maxLength)}`);
  }
  return parts.join(", ");
}

function shortRepr(value: unknown, maxLength: number): string {
  const text = pyRepr(value);
  if (text.length <= maxLength) return text;
  // Python counts code points.
  const characters = [...text];
  return characters.length <= maxLength ? text : `${characters.slice(0, maxLength).join("")}...`;
}
