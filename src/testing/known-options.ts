/** Options of the harness: a name that it does not know is the test's mistake, and would otherwise be a wait or a setting that is not there. */

import { didYouMean } from "../settings/suggest.ts";
import { HarnessError } from "./errors.ts";

/** Exactly the names of an interface: one that is missing or too much does not compile. */
export type NamesOf<Options> = { readonly [K in keyof Required<Options>]: true };

/** Throws `HarnessError` for what is no object and for unknown names. */
export function knownOptions<Options extends object>(given: Options, names: NamesOf<Options>, at: string): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new HarnessError("WRONG_OPTIONS", `${at}: the options must be an object`);
  }
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(names, name)) continue;
    const hint = didYouMean(name, Object.keys(names));
    throw new HarnessError("UNKNOWN_OPTION", `${at}: unknown option ${JSON.stringify(name)}${hint}`);
  }
}
