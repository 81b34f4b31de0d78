import { expect, test } from "vitest";
import { encodeMognetError, mognetExceptionArgs } from "../../../protocol/mognet/exception.ts";
import { unknownTask } from "../../../protocol/mognet/refusals.ts";
import { RemoteTaskError } from "../../tasks/errors.ts";
import { rememberStoredError } from "../../tasks/mognet-stored-error.ts";
import { pythonErrorOf } from "./failures.ts";

class KeyError extends Error {
  static python = "builtins.KeyError";
  static pythonArgs = (error: KeyError) => [error.key];
  readonly key: string;
  constructor(key: string) {
    super(`'${key}'`);
    this.key = key;
  }
}

test("an error says which arguments Python's is made of, and its message stays its own", () => {
  const stored = encodeMognetError(pythonErrorOf(new KeyError("missing")));
  expect(stored).toMatchObject({ name: "builtins:KeyError", message: "'missing'" });
  expect(mognetExceptionArgs(stored)).toEqual(["missing"]);
});

test("an error that Celery could not pass on says what it was", () => {
  const args = ["shop.errors", "Odd", ["x"], "Odd('x')"];
  const wrapper = { module: "celery.utils.serialization", type: "UnpickleableExceptionWrapper", args };
  expect(pythonErrorOf(new RemoteTaskError("id", wrapper, null)).message).toBe("Odd('x')");
});

test("an error without a message has no arguments", () => {
  expect(mognetExceptionArgs(encodeMognetError(pythonErrorOf(new TypeError())))).toEqual([]);
});

test("an error that came from the store goes back as it was", () => {
  const origin = encodeMognetError(unknownTask("nobody"));
  const error = new Error("as it was read");
  rememberStoredError(error, origin);
  expect(encodeMognetError(pythonErrorOf(error))).toEqual(origin);
});
