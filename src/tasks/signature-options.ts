/** The options of a signature as they travel (`task_id`, `link_error`, …) and as `applyAsync` takes them (`taskId`, `linkError`, …). */

/** Null values are dropped as Celery drops them; stamps stay flat under their own names. */
export function callOptionsOf(wire: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  const stampNames = Array.isArray(wire.stamped_headers) ? wire.stamped_headers : [];
  const stamps: [string, unknown][] = [];
  for (const [key, value] of Object.entries(wire)) {
    if (value === null || value === undefined || key === "__proto__") continue;
    if (stampNames.includes(key)) stamps.push([key, value]);
    else options[camelCase(key)] = value;
  }
  if (stamps.length > 0) options.stamps = Object.fromEntries(stamps);
  return options;
}

const names = new Map<string, string>();

/** `task_id` to `taskId`; `argsrepr` and the like stay as they are. */
function camelCase(key: string): string {
  let name = names.get(key);
  if (name === undefined) {
    name = key.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
    if (names.size < 1000) names.set(key, name);
  }
  return name;
}

/**
 * The other way: options of a call as those of a signature. Signatures among them become data, a single callback a list of one
 * (a bare one is a bug of Python's), stamps stand under their own names.
 */
export function wireOptionsOf(options: object): Record<string, unknown> {
  const wire: [string, unknown][] = [];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || name === "signal") continue;
    if (name === "stamps" && typeof value === "object" && value !== null) wire.push(...Object.entries(value));
    else if (name === "link" || name === "linkError")
      wire.push([snakeCase(name), value === null ? null : dataOf(value)]);
    else wire.push([snakeCase(name), name === "chain" || name === "chord" ? dataIn(value) : value]);
  }
  return Object.fromEntries(wire);
}

function dataOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value.map(dataIn) : [dataIn(value)];
}

function dataIn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dataIn);
  if (typeof value !== "object" || value === null) return value;
  return "toJSON" in value && typeof value.toJSON === "function" ? value.toJSON() : value;
}

/** `taskId` to `task_id`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
