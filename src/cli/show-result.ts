/** Waits for a result and prints it. */
import { encodeJson } from "../../protocol/json.ts";
import type { AsyncResult } from "../client/async-result.ts";
import { RemoteTaskError, TaskError, TimeoutError } from "../tasks/errors.ts";
import { EXIT } from "./command.ts";
import { complain, print } from "./output.ts";

/** Prints the value as JSON; a failure goes to standard error, with its traceback. `timeout` in seconds. */
export async function showResult(result: AsyncResult, timeout: number | undefined): Promise<number> {
  try {
    const value = await result.get(timeout === undefined ? {} : { timeout: timeout * 1000 });
    print(encodeJson(value ?? null));
    return EXIT.ok;
  } catch (error) {
    if (error instanceof TimeoutError) complain(`${error.message}\n`);
    else if (error instanceof TaskError) complain(`${tracebackOf(error) ?? error.message}\n`);
    else throw error;
    return EXIT.failed;
  }
}

/** What the worker wrote about a failure; null when it wrote nothing, or the error is not from afar. */
export function tracebackOf(error: unknown): string | null {
  const remote = error instanceof RemoteTaskError ? error : error instanceof Error ? error.cause : null;
  return remote instanceof RemoteTaskError && remote.traceback ? remote.traceback.trimEnd() : null;
}
