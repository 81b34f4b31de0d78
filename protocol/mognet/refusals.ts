/** The errors that Mognet's worker itself stores, word for word. wire: Mognet 2.0.0 worker/worker.py, exceptions/*.py. */
import { pyRepr, reprTuple } from "../saferepr.ts";
import { PyUuid } from "../values.ts";
import { encodeMognetError, MOGNET_NOT_READY, mognetExceptionValue, type PythonError } from "./exception.ts";
import type { PickleItem } from "./pickle-writer.ts";
import type { MognetValue } from "./value.ts";

/** One argument that does not fit. */
export interface InvalidArgument {
  /** Position (the context is 0, the first argument 1) or name, then the way inside. */
  loc: readonly (string | number)[];
  msg: string;
  /** pydantic's code, such as `float_parsing`. */
  type: string;
}

/** The error of a request that was started more often than `max_retries` allows. */
export function tooManyRetries(id: string, retries: number, maxRetries: number): PythonError {
  const uuid = new PyUuid(id);
  return {
    name: "mognet.exceptions.too_many_retries:TooManyRetries",
    message: `Task id=${pyRepr(uuid)} has been retried ${retries} times, which is more than the limit of ${maxRetries}`,
    args: [{ call: "uuid:UUID", args: [uuid.toString()] }, retries, maxRetries],
  };
}

/** The error of a request below more ancestors than `max_recursion` allows. */
export function recursionLimit(): PythonError {
  return { name: "builtins:RecursionError", message: "" };
}

/** The error of a request whose parent's result is gone. */
export function parentMissing(parentId: string): PythonError {
  return { name: "builtins:Exception", message: `Parent request id=${parentId} does not exist` };
}

/** The error of a request whose parent was revoked. */
export function parentRevoked(parentId: string): PythonError {
  return { name: "builtins:Exception", message: `Parent request id=${parentId} was revoked` };
}

/** The error of a request whose deadline was over. */
export function deadlinePassed(): PythonError {
  return { name: "builtins:TimeoutError", message: "" };
}

/** The error of a request for a task that the worker does not have. */
export function unknownTask(name: string): PythonError {
  return {
    name: "mognet.tasks.task_registry:UnknownTask",
    message: `Unknown task: ${pyRepr(name)}; did you forget to register it, or import it's module in the app's configuration?`,
    args: [name],
  };
}

/** The error of a request whose arguments do not fit. */
export function invalidTaskArguments(errors: readonly InvalidArgument[]): PythonError {
  const items = errors.map(
    ({ loc, msg, type }) => `InvalidErrorInfo(loc=${reprTuple(loc)}, msg=${pyRepr(msg)}, type=${pyRepr(type)})`,
  );
  return {
    name: "mognet.exceptions.task_exceptions:InvalidTaskArguments",
    message: `[${items.join(", ")}]`,
    args: [errors.map(pickledErrorInfo)],
  };
}

/** The state that pydantic 2 gives its models. */
function pickledErrorInfo({ loc, msg, type }: InvalidArgument): PickleItem {
  const fields: [PickleItem, PickleItem][] = [
    ["loc", { tuple: loc }],
    ["msg", msg],
    ["type", type],
  ];
  return {
    call: "mognet.exceptions.task_exceptions:InvalidErrorInfo",
    args: [],
    bare: true,
    state: {
      dict: [
        ["__dict__", { dict: fields }],
        ["__pydantic_extra__", null],
        ["__pydantic_fields_set__", { set: ["loc", "msg", "type"] }],
        ["__pydantic_private__", null],
      ],
    },
  };
}

/** What stands in the value of a result that has none yet. wire: model/result.py `ResultValueHolder.not_ready`. */
export const NOT_READY_VALUE: MognetValue = mognetExceptionValue(
  encodeMognetError({ name: MOGNET_NOT_READY, message: "" }),
);

/** The value that stores an error. */
export function mognetErrorValue(error: PythonError): MognetValue {
  return mognetExceptionValue(encodeMognetError(error));
}
