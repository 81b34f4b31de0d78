/** Commands that change the limits of a task. wire: celery/worker/control.py `rate_limit`, `time_limit`; behaviour 3.3. */
import { parseRate } from "../../../protocol/celery/rate.ts";
import { pyRepr, reprException } from "../../../protocol/saferepr.ts";
import { command } from "../command.ts";
import { CommandError } from "../errors.ts";
import { nok, ok } from "../state.ts";

export const rateLimit = command(
  {
    name: "rate_limit",
    kind: "control",
    help: "Tell worker(s) to modify the rate limit for a task by type.",
    parameters: "task_name, rate_limit, **kwargs",
    args: [
      ["task_name", "str"],
      ["rate_limit", "str"],
    ],
    signature: "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
  },
  ({ worker }, { task_name: task, rate_limit: given }) => {
    const rate = typeof given === "string" || typeof given === "number" ? given : null;
    if (given !== null && rate === null) throw new CommandError("TypeError", ["a rate limit is a number or a text"]);
    const perSecond = parseRate(rate);
    if (typeof perSecond !== "number") {
      // Python looks at the unit first, and only the number is caught.
      if (perSecond.kind === "unit") throw new CommandError("KeyError", [perSecond.text]);
      const text = reprException("ValueError", [`could not convert string to float: ${pyRepr(perSecond.text)}`]);
      return nok(`Invalid rate limit string: ${text}`);
    }
    // Celery's bucket of a negative rate never lets a task through; ours would have no limit at all.
    const negative = Number.parseFloat(String(rate)) < 0;
    if (negative || (typeof rate === "number" && !Number.isFinite(rate))) {
      return nok(
        `Invalid rate limit string: ${reprException("ValueError", [`a rate is not negative: ${String(rate)}`])}`,
      );
    }
    if (typeof task !== "string" || !worker.limits.setRateLimit(task, rate)) return nok("unknown task");
    // Python asks whether what was given is empty: the text "0" is none too, and is not called so.
    return ok(rate ? "new rate limit set successfully" : "rate limit disabled successfully");
  },
);

export const timeLimit = command(
  {
    name: "time_limit",
    kind: "control",
    help: "Tell worker(s) to modify the time limit for task by type.",
    parameters: "task_name=None, hard=None, soft=None, **kwargs",
    args: [
      ["task_name", "str"],
      ["soft", "float"],
      ["hard", "float"],
    ],
    signature: "<task_name> <soft_secs> [hard_secs]",
  },
  ({ worker }, { task_name: task, hard, soft }) => {
    const limits = { soft: seconds("soft", soft), hard: seconds("hard", hard) };
    if (typeof task !== "string" || !worker.limits.setTimeLimits(task, limits)) return nok("unknown task");
    return ok("time limits set successfully");
  },
);

/** Celery takes anything and fails with it later; 0 is no limit, as everywhere. */
function seconds(name: string, value: unknown): number | null {
  if (value === null || value === undefined) return null;
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number) || number < 0) {
    throw new CommandError("ValueError", [`${name} is a number of seconds, at least 0`]);
  }
  return number === 0 ? null : number;
}
