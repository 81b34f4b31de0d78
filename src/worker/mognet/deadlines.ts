/** A deadline as milliseconds. wire: mognet/worker/worker.py; mognet 1.3. */
import type { MognetDeadline } from "../../../protocol/mognet/deadline.ts";

/** Unix milliseconds of an instant; a time without zone is this machine's local time. Null: none, or a duration. */
export function instantMs(deadline: MognetDeadline | null): number | null {
  if (deadline === null || deadline.kind !== "instant") return null;
  return deadline.epochMs ?? new Date(deadline.iso).getTime();
}

/** How long a run that begins now may take; null: as long as it likes. */
export function timeLeftMs(deadline: MognetDeadline | null, nowMs: number): number | null {
  if (deadline === null) return null;
  if (deadline.kind === "duration") return deadline.seconds * 1000;
  const at = instantMs(deadline);
  return at === null ? null : at - nowMs;
}
