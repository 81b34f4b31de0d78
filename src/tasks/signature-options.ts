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
