/** The text of Python's `decimal.Decimal`: which texts it reads, and how it prints what it read. */

const FINITE = /^([+-]?)(?=\d|\.\d)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/;
const SPECIAL = /^([+-]?)(?:(inf)(?:inity)?|(s?nan)(\d*))$/i;

/** What `str(Decimal(text))` prints, or null when Python refuses the text. The value is kept exactly. */
export function canonicalDecimal(text: string): string | null {
  const bare = text.trim().replaceAll("_", "");
  const special = SPECIAL.exec(bare);
  if (special !== null) {
    const sign = special[1] === "-" ? "-" : "";
    if (special[2] !== undefined) return `${sign}Infinity`;
    const name = special[3]!.length === 4 ? "sNaN" : "NaN";
    return `${sign}${name}${special[4]!.replace(/^0+/, "")}`;
  }
  const finite = FINITE.exec(bare);
  if (finite === null) return null;
  const sign = finite[1] === "-" ? "-" : "";
  const fraction = finite[3] ?? "";
  const digits = (finite[2]! + fraction).replace(/^0+(?=\d)/, "");
  const exponent = Number(finite[4] ?? 0) - fraction.length;
  if (!Number.isSafeInteger(exponent)) return null;
  return sign + finiteText(digits, exponent);
}

/** The specification's to-scientific-string. */
function finiteText(digits: string, exponent: number): string {
  const point = digits.length + exponent;
  const plain = exponent <= 0 && point > -6;
  const whole = plain ? point : 1;
  let text: string;
  if (whole <= 0) text = `0.${"0".repeat(-whole)}${digits}`;
  else text = whole >= digits.length ? digits : `${digits.slice(0, whole)}.${digits.slice(whole)}`;
  if (plain || point === whole) return text;
  const shown = point - whole;
  return `${text}E${shown < 0 ? "-" : "+"}${Math.abs(shown)}`;
}
