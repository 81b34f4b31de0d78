/** The states of a Mognet result. wire: Mognet 2.0.0 model/result_state.py. */

export const MOGNET_STATES = ["PENDING", "RUNNING", "SUSPENDED", "SUCCESS", "FAILURE", "REVOKED", "INVALID"] as const;

/** A state of a Mognet result. */
export type MognetState = (typeof MOGNET_STATES)[number];
/** States after which nothing follows. */
export type MognetDoneState = "SUCCESS" | "FAILURE" | "REVOKED" | "INVALID";

/** The states after which nothing follows. */
export const MOGNET_DONE_STATES: readonly MognetDoneState[] = ["SUCCESS", "FAILURE", "REVOKED", "INVALID"];
/** Mognet's `ERROR_STATES`. */
export const MOGNET_ERROR_STATES: readonly MognetDoneState[] = ["FAILURE", "REVOKED", "INVALID"];
/** The states that another one follows. */
export const MOGNET_OPEN_STATES: readonly MognetState[] = ["PENDING", "RUNNING", "SUSPENDED"];

/** Whether it is one of Mognet's states; wire data may be anything. */
export function isMognetState(value: unknown): value is MognetState {
  return MOGNET_STATES.some((state) => state === value);
}

/** Whether nothing follows after that state. */
export function isMognetDone(state: MognetState): state is MognetDoneState {
  return state !== "PENDING" && state !== "RUNNING" && state !== "SUSPENDED";
}
