/** What all results of one app share. */
import type { MognetStore } from "../../result-backends/mognet/mognet-store.ts";
import type { Log } from "../../runtime/log.ts";
import type { LimitedWaits } from "../../runtime/wait-limits.ts";
import type { ErrorRegistry } from "../remote-errors.ts";

/** What results ask of the store. */
export type ResultStore = Pick<
  MognetStore,
  | "get"
  | "getMany"
  | "getValue"
  | "countChildren"
  | "childIds"
  | "getMetadata"
  | "setMetadata"
  | "delete"
  | "setTtl"
  | "waitFor"
  | "outage"
>;

export interface Results {
  readonly store: ResultStore;
  readonly errors: ErrorRegistry;
  readonly limits: LimitedWaits;
  readonly log: Log;
  /** Check values against the task's `returns` schema. */
  readonly validate: boolean;
  revoke(id: string, options: RevokeOptions): Promise<unknown>;
}

/** What a revoke ends. Mognet: `Result.revoke`. */
export interface RevokeOptions {
  /** Also what is done already, and, which is the point of it, its children. @default false */
  force?: boolean;
}
