/** Events of users' own: what no receiver could make sense of is refused where it was made. */
import { isRecord } from "../../protocol/records.ts";
import { InvalidEvent } from "./errors.ts";

/** What every event has already. */
const ENVELOPE = ["type", "hostname", "pid", "clock", "timestamp", "utcoffset"];
const TYPE = /^[A-Za-z][A-Za-z0-9_.-]{0,200}$/;

/** Throws `InvalidEvent`; `at` begins its sentence. */
export function checkCustomEvent(at: string, type: unknown, fields: unknown): void {
  if (typeof type !== "string" || !TYPE.test(type)) {
    throw new InvalidEvent(`${at}: the type of an event is a name such as task-progress`);
  }
  if (!isRecord(fields)) throw new InvalidEvent(`${at}: the fields of an event are a plain object`);
  const taken = ENVELOPE.find((name) => Object.hasOwn(fields, name));
  if (taken !== undefined) throw new InvalidEvent(`${at}: the field ${taken} is set by Lovage in every event`);
}
