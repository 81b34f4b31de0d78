/** Tables as Mognet's command prints them (tabulate's `simple`), and Python's way of writing times. */

export type Cell = string | number | null;

/** Columns as wide as they must be; a cell may have several lines. */
export function simpleTable(rows: readonly (readonly Cell[])[], headers?: readonly string[]): string[] {
  const cells = rows.map((row) => row.map((cell) => (cell === null ? "" : String(cell)).split("\n")));
  const columns = Math.max(0, headers?.length ?? 0, ...cells.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, at) =>
    Math.max(
      // tabulate leaves two columns of air beside a header.
      headers === undefined ? 1 : (headers[at]?.length ?? 0) + 2,
      ...cells.map((row) => Math.max(0, ...(row[at] ?? []).map((line) => line.length))),
    ),
  );
  const line = (parts: readonly string[]) =>
    widths
      .map((width, at) => (parts[at] ?? "").padEnd(width))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  const body = cells.flatMap((row) => {
    const height = Math.max(1, ...row.map((lines) => lines.length));
    return Array.from({ length: height }, (_, at) => line(row.map((lines) => lines[at] ?? "")));
  });
  return headers === undefined ? [rule, ...body, rule] : [line(headers), rule, ...body];
}

/** `2026-11-21 09:07:38.679014+00:00` of `2026-11-21T09:07:38.679014Z`. */
export function pythonTime(iso: string | null): string | null {
  return iso === null ? null : iso.replace("T", " ").replace(/Z$/, "+00:00");
}

/** `str(timedelta)`: `0:00:01.500000`, `1 day, 0:00:00`. */
export function pythonDuration(ms: number | null): string | null {
  if (ms === null) return null;
  const micros = Math.round(ms * 1000);
  const days = Math.floor(micros / 86_400_000_000);
  const rest = micros - days * 86_400_000_000;
  const seconds = Math.floor(rest / 1_000_000);
  const fraction = rest % 1_000_000;
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  const text = fraction === 0 ? clock : `${clock}.${String(fraction).padStart(6, "0")}`;
  return days === 0 ? text : `${days} ${Math.abs(days) === 1 ? "day" : "days"}, ${text}`;
}
