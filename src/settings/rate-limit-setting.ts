/** `rate_limit` and `task_default_rate_limit`: Celery's rates. */
import { parseRate } from "../../protocol/celery/rate.ts";
import { type Kind, mismatch } from "./kinds.ts";

export const rateLimit: Kind<string | number> = {
  what: "a rate such as 10/s, 5/m or 2/h, or a number of starts a second",
  parse(value, at) {
    const isRate = typeof value === "string" || (typeof value === "number" && Number.isFinite(value) && value >= 0);
    if (!isRate || typeof parseRate(value) !== "number") throw mismatch(at, this.what, value);
    return value;
  },
  fromText: (text) => text,
};
