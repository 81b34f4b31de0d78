/** Which servers and interpreters a test may use: those that `npm test`, or `node scripts/services.mjs`, put into the environment. */
import { HarnessError } from "./errors.ts";

/**
 * The value of an environment variable such as LOVAGE_TEST_REDIS_URL. When it is missing: `undefined`, so that a test can skip,
 * but an error when CI=true, where a missing service must not look like success.
 */
export function testService(variable: string): string | undefined {
  const value = process.env[variable];
  if (value) return value;
  if (process.env.CI === "true") throw new HarnessError("NO_SERVICE", `${variable} is not set`);
  return undefined;
}
