/** Objects of options that code passes: unknown names and wrong kinds are the caller's error, told with the name that was meant. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { type Kind, mismatch } from "./kinds.ts";
import { didYouMean } from "./suggest.ts";

/** Name to kind; an option that is `undefined` counts as left out. */
export type OptionKinds = Readonly<Record<string, Kind<unknown>>>;

/** Throws `ImproperlyConfigured`; `at` begins its sentence: `new Worker()`, `result.get()`. */
export function checkOptionObject(given: unknown, kinds: OptionKinds, at: string): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw mismatch(`${at}: the options`, "an object", given);
  }
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(kinds, name)) {
      const hint = didYouMean(name, Object.keys(kinds));
      throw new ImproperlyConfigured(`${at}: unknown option ${JSON.stringify(name)}${hint}`);
    }
    if (value !== undefined) kinds[name]?.parse(value, `${at}: option ${name}`);
  }
}
