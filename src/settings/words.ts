/** Celery writes `routing_key` in settings and files, TypeScript writes `routingKey` in code: both are read, one is kept. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { didYouMean } from "./suggest.ts";

/** `routing_key` to `routingKey`. Names of one word stay as they are. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_whole, letter: string) => letter.toUpperCase());
}

/** The members under their camelCase names. A name outside `known`, or one given in both spellings, is an error. */
export function camelMembers(
  given: Readonly<Record<string, unknown>>,
  known: readonly string[],
  at: string,
): Map<string, unknown> {
  const members = new Map<string, unknown>();
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const name = camelCase(key);
    if (!known.includes(name)) {
      throw new ImproperlyConfigured(`${at}: unknown name ${JSON.stringify(key)}${didYouMean(name, known)}`);
    }
    if (members.has(name)) throw new ImproperlyConfigured(`${at}: ${JSON.stringify(name)} is given twice`);
    members.set(name, value);
  }
  return members;
}
