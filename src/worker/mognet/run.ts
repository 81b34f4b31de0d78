/** One request that this worker holds: what it says, where it stands, and what of it is stored. */
import type { MognetRequest } from "../../../protocol/mognet/request.ts";
import type { MognetRequestState } from "../../../protocol/mognet/request-machine.ts";
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { MognetDoneState } from "../../../protocol/mognet/states.ts";
import type { MognetValue } from "../../../protocol/mognet/value.ts";
import type { TimerEntry, TimerHeap } from "../../runtime/timer-heap.ts";
import type { Delivery } from "../../transports/transport.ts";
import type { RunningMognetContext } from "./context.ts";

/** How it ended. */
export interface Outcome {
  readonly state: MognetDoneState;
  readonly value: MognetValue;
}

export class Run {
  readonly request: MognetRequest;
  readonly context: RunningMognetContext;
  /** Replaced when the broker delivers the message again while it is still held here. */
  delivery: Delivery;
  state: MognetRequestState = "received";
  /** As it was written at the start: the end is written over it, as in Mognet, so that what waits for children count vanishes. */
  record: MognetResult | null = null;
  /** As it is stored now, as far as we know. */
  stored: MognetResult | null = null;
  outcome: Outcome | null = null;
  /** What it remembered over pauses is gone. */
  stateCleared = false;
  /** Its body has been called, and ended: its message waits for acts only. */
  ended = false;
  startedMs = 0;
  /** When its body is late, by the clock of these timers. */
  deadline: { readonly timers: TimerHeap; readonly entry: TimerEntry } | null = null;
  hasSlot = false;
  /** Its start is on its way to the store. */
  isBeginning = false;
  /** It is to be handed back as soon as that is known. */
  goesBack = false;
  /** Requests that it waits for. */
  dependencies = 0;
  /** Suspending and resuming, one after the other. */
  transition: Promise<void> | null = null;
  /** More messages with the same id: looked at when this one is settled. */
  followers: Delivery[] | null = null;

  constructor(request: MognetRequest, delivery: Delivery, contextOf: (run: Run) => RunningMognetContext) {
    this.request = request;
    this.delivery = delivery;
    this.context = contextOf(this);
  }

  /** Told why it is over while its body runs elsewhere. */
  onAbort: ((reason: unknown) => void) | null = null;

  /** It is over before its body is. */
  abort(reason: unknown): void {
    this.context.abort(reason);
    this.onAbort?.(reason);
  }

  /** For where a comparison of `state` would be taken to hold over a wait. */
  isIn(state: MognetRequestState): boolean {
    return this.state === state;
  }

  get id(): string {
    return this.request.id;
  }
}
