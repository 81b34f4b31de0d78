import { HarnessError } from "../../src/testing/index.ts";

/** A sample that is written wrongly, does not compile, or does not do what the text says. */
export class DocsError extends HarnessError {
  constructor(message: string) {
    super("DOCS", message);
  }
}
