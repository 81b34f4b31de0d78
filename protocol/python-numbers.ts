/**
 * Numbers as Python prints them. Both languages print the shortest digits that read back as the same double; they differ
 * in where the exponent starts (Python: below 1e-4 and from 1e16) and in how it is written (`1e-07`).
 */

/** `repr()` of a Python float: `1.0`, `1e+16`, `1e-07`, `nan`, `inf`. */
export function floatRepr(value: number): string {
  if (Number.isFinite(value)) return finiteFloatText(value);
  return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

/** As `json.dumps` writes a float: `1.0`, `1e+16`, `NaN`, `Infinity`. */
export function floatJson(value: number): string {
  return Number.isFinite(value) ? finiteFloatText(value) : `${value}`;
}

/**
 * As `json.dumps` would write what a JavaScript number stands for: an int while integers are exact (up to 2**53 - 1), else
 * a float. Integers beyond that are `bigint` here, so a larger number was a float: 1e21 leaves as `1e+21`, as it came.
 * Minus zero is what `0 * -1` gives, so it leaves as the int it is meant to be; `PyFloat` keeps the sign.
 */
export function numberJson(value: number): string {
  return Number.isSafeInteger(value) ? `${value}` : floatJson(value);
}

/** `repr()` of what `numberJson` makes Python receive. */
export function numberRepr(value: number): string {
  return Number.isSafeInteger(value) ? `${value}` : floatRepr(value);
}

function finiteFloatText(value: number): string {
  const size = Math.abs(value);
  if ((size >= 1e-4 && size < 1e16) || size === 0) {
    const text = `${value}`;
    if (!Number.isInteger(value)) return text;
    return value === 0 && 1 / value < 0 ? "-0.0" : `${text}.0`;
  }
  const text = value.toExponential();
  const digit = text.length - 1;
  // One exponent digit: Python writes at least two.
  return text[digit - 1] === "+" || text[digit - 1] === "-" ? `${text.slice(0, digit)}0${text[digit]}` : text;
}
