/** Rates as Celery writes them: `10/m`, `0.5/s`, `2/h`, `5`. wire: celery/utils/time.py `rate`; behaviour 1.7. */

const PER_SECOND: ReadonlyMap<string, number> = new Map([
  ["s", 1],
  ["m", 1 / 60],
  ["h", 1 / 3600],
]);

/** What Python's `float()` reads, without its nan and its underscores. */
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** Why a rate cannot be read. `kind`: Python raises ValueError for the number and KeyError for the unit. */
export interface BadRate {
  readonly kind: "number" | "unit";
  /** The part that cannot be read. */
  readonly text: string;
}

/** Starts per second, 0 for none (`null`, `""`, 0); or what is wrong with it. */
export function parseRate(rate: string | number | null): number | BadRate {
  if (rate === null || rate === "" || rate === 0) return 0;
  if (typeof rate === "number") return Number.isFinite(rate) && rate > 0 ? rate : 0;
  const slash = rate.indexOf("/");
  const [amount, unit] = slash < 0 ? [rate, ""] : [rate.slice(0, slash), rate.slice(slash + 1)];
  const factor = PER_SECOND.get(unit || "s");
  if (factor === undefined) return { kind: "unit", text: unit };
  if (!NUMBER.test(amount)) return { kind: "number", text: amount };
  const perSecond = Number(amount) * factor;
  return Number.isFinite(perSecond) && perSecond > 0 ? perSecond : 0;
}
