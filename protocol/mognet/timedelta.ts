/** Python's `timedelta`, which only Mognet puts on the wire. */
import { DecodeError } from "../errors.ts";
import { decodeMognetDeadline, formatDuration } from "./deadline.ts";

/** A Python timedelta; travels as ISO 8601 text such as `PT1M`. */
export class PyTimeDelta {
  /** With a fraction, to the microsecond. */
  readonly seconds: number;

  /** Seconds, or what pydantic reads as a duration; otherwise `DecodeError`. */
  constructor(value: number | string) {
    const found = decodeMognetDeadline(value);
    if (found.kind !== "duration") throw new DecodeError(`not a duration: ${JSON.stringify(value)}`);
    this.seconds = found.seconds;
  }

  get iso(): string {
    return formatDuration(this.seconds);
  }

  valueOf(): number {
    return this.seconds;
  }

  toString(): string {
    return this.iso;
  }

  toJSON(): string {
    return this.iso;
  }
}
