/** Waits for a result and prints it. */
import { encodeJson } from "../../protocol/json.ts";
import type { AsyncResult } from "../client/async-result.ts";
import { RemoteTaskError, TaskError, TimeoutError } from "../tasks/errors.ts";
import { EXIT, type Given, print } from "./command.ts";

/** Prints the value as JSON; a failure, on standard error, with its traceback when `--traceback` asks for it. */
export async function showResult(result: AsyncResult, given: Given): Promise<number> {
  const timeout = given.number("timeout");
  try {
    const value = await result.get(timeout === undefined ? {} : { timeout: timeout * 1000 });
    print(encodeJson(value ?? null));
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof TaskError || error instanceof TimeoutError)) throw error;
    process.stderr.write(`${error.message}\n`);
    const remote =
      error instanceof RemoteTaskError ? error : error.cause instanceof RemoteTaskError ? error.cause : null;
    if (given.on("traceback") && remote?.traceback) process.stderr.write(`${remote.traceback}\n`);
    return EXIT.failed;
  }
}
