/** Why a run is over, across the border of a pool. */
import { Revoked } from "../../../tasks/mognet-errors.ts";
import type { MognetReason, Reason } from "../../pools/messages.ts";
import { DeadlineExceeded, HandedBack, StartedElsewhere } from "../reasons.ts";

export function packReason(reason: unknown): Reason {
  if (reason instanceof Revoked) return { kind: "mognetRevoked", id: reason.requestId, reason: reason.reason };
  if (reason instanceof HandedBack) return { kind: "handedBack" };
  if (reason instanceof StartedElsewhere) return { kind: "startedElsewhere", node: reason.node };
  if (reason instanceof DeadlineExceeded) return { kind: "deadline" };
  return { kind: "cancelled", reason: reason instanceof Error ? reason.message : String(reason) };
}

export function unpackReason(reason: MognetReason): Error {
  switch (reason.kind) {
    case "mognetRevoked":
      return new Revoked(reason.id, reason.reason);
    case "handedBack":
      return new HandedBack();
    case "startedElsewhere":
      return new StartedElsewhere(reason.node);
    case "deadline":
      return new DeadlineExceeded();
  }
}

export function isMognetReason(reason: Reason): reason is MognetReason {
  return KINDS.has(reason.kind);
}

const KINDS: ReadonlySet<Reason["kind"]> = new Set(["mognetRevoked", "handedBack", "startedElsewhere", "deadline"]);
