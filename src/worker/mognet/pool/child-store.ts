/** The result store as a task in a child sees it: the worker asks, with the connection that it has. */
import { decodePlainJson } from "../../../../protocol/mognet/json.ts";
import type { MognetResult } from "../../../../protocol/mognet/result.ts";
import type { MognetOutcome, MognetStore, MognetWaitOptions } from "../../../result-backends/mognet/mognet-store.ts";
import type { CallLimits } from "../../pools/call-line.ts";

/** Asks the worker, with the name of a member of its store and arguments. */
export type AskStore = (call: readonly unknown[], limits?: CallLimits) => Promise<unknown>;

/** What the client's results need of a store; all else is the worker's own business. */
export type ChildStore = Pick<
  MognetStore,
  | "get"
  | "getMany"
  | "getOrCreate"
  | "getValue"
  | "countChildren"
  | "childIds"
  | "getMetadata"
  | "setMetadata"
  | "delete"
  | "setTtl"
  | "waitFor"
  | "state"
>;

export function childStore(ask: AskStore): ChildStore {
  /** The worker answers with what its own store gives. */
  const as = async <T>(call: readonly unknown[], limits?: CallLimits) => (await ask(call, limits)) as T;
  const done = async (call: readonly unknown[]) => void (await ask(call));
  return {
    get: (id) => as(["get", id]),
    getMany: (ids) => as(["getMany", ids]),
    getOrCreate: (id) => as(["getOrCreate", id]),
    getValue: (id) => as(["getValue", id]),
    countChildren: (id) => as(["countChildren", id]),
    async *childIds(id, options) {
      yield* await as<string[]>(["childIds", id, options ?? {}]);
    },
    getMetadata: (id) => as(["getMetadata", id]),
    setMetadata: (id, metadata) => done(["setMetadata", id, metadata]),
    delete: (id, options) => done(["delete", id, options ?? {}]),
    setTtl: (id, seconds, options) => done(["setTtl", id, seconds, options ?? {}]),
    waitFor: (id, { signal, value = false, lostAfter = null, onUpdate }: MognetWaitOptions = {}) =>
      as<MognetOutcome>(["waitFor", id, { value, lostAfter, updates: onUpdate !== undefined }], {
        signal,
        onNote: onUpdate === undefined ? undefined : (json) => onUpdate(decodePlainJson(json) as MognetResult),
      }),
    state: {
      get: (id, key) => ask(["state.get", id, key]),
      set: (id, key, value) => done(["state.set", id, key, value]),
      pop: (id, key) => ask(["state.pop", id, key]),
      clear: (id) => done(["state.clear", id]),
    },
  };
}
