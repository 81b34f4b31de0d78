/**
 * What is written for a result, in Redis' own words: the keys of one result, their fields and lifetimes, as Mognet writes them.
 * wire: Mognet 2.0.0 backend/redis_result_backend.py.
 */
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import { type MognetNames, mognetIdBytes } from "../../../protocol/mognet/names.ts";
import { encodeMognetResult, type MognetResult, mognetResultTexts } from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import type { MognetValue } from "../../../protocol/mognet/value.ts";
import type { ScriptArgument } from "../redis/script.ts";
import { isPlainEnd } from "./conditions.ts";
import type { MognetBegin, MognetCondition } from "./mognet-store.ts";
import type { Command } from "./redis-writes.ts";
import type { WholeStoreSettings } from "./store-settings.ts";
import { encodeValueFields, type ValueFields } from "./value-hash.ts";

/** Members of one command: Redis serves others in between. */
export const MEMBERS_PER_COMMAND = 500;

export class StoreCommands {
  readonly #names: MognetNames;
  readonly #settings: WholeStoreSettings;

  constructor(names: MognetNames, settings: WholeStoreSettings) {
    this.#names = names;
    this.#settings = settings;
  }

  keysOf(id: string): string[] {
    const names = this.#names;
    return [names.resultKey(id), names.childrenKey(id), names.valueKey(id), names.metadataKey(id)];
  }

  result(result: MognetResult): Command[] {
    const key = this.#names.resultKey(result.id);
    return withTtl(["HSET", key, ...encodeMognetResult(result)], key, this.#settings.resultTtl);
  }

  /** Encoded now: what it is made of may change. */
  fieldsOf(value: MognetValue): ValueFields {
    return encodeValueFields(value, this.#settings.resultValueEncoding);
  }

  value(id: string, fields: ValueFields): Command[] {
    const key = this.#names.valueKey(id);
    return withTtl(["HSET", key, ...fields], key, this.#settings.resultValueTtl);
  }

  children(id: string, children: readonly string[]): Command[] {
    const key = this.#names.childrenKey(id);
    const members = children.map((child) => Buffer.from(mognetIdBytes(child)));
    return withTtl(["SADD", key, ...members], key, this.#settings.resultTtl);
  }

  metadata(id: string, metadata: Readonly<Record<string, unknown>>): Command[] {
    // As in any JSON of ours, what is undefined is not there.
    const members = Object.entries(metadata).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, encodeAsciiJson(value)]],
    );
    const key = this.#names.metadataKey(id);
    const commands: Command[] = [];
    for (let at = 0; at < members.length; at += MEMBERS_PER_COMMAND) {
      const part = members.slice(at, at + MEMBERS_PER_COMMAND).flat();
      commands.push(...withTtl(["HSET", key, ...part], key, this.#settings.resultTtl));
    }
    return commands;
  }

  // -------------------------------------------------------------------------------- short forms, which the script knows

  shortNew(result: MognetResult): readonly ScriptArgument[] {
    return ["N", this.#settings.resultTtl ?? "", ...mognetResultTexts(result)];
  }

  shortBegin({ nodeId, started }: MognetBegin): readonly ScriptArgument[] {
    return ["B", this.#settings.resultTtl ?? "", encodeAsciiJson(started), encodeAsciiJson(nodeId)];
  }

  /** `clears`: what the task remembered goes with it. */
  shortEnd(result: MognetResult, [, contents, , encoding]: ValueFields, clears: boolean): readonly ScriptArgument[] {
    const { id, state, finished, numberOfStarts, numberOfStops } = result;
    const { resultTtl, resultValueTtl } = this.#settings;
    return [
      "E",
      `${numberOfStarts}`,
      resultTtl ?? "",
      resultValueTtl ?? "",
      `"${state}"`,
      finished === null ? "null" : encodeAsciiJson(finished),
      `${numberOfStops}`,
      contents,
      encoding,
      clears ? this.#names.stateKey(id) : "",
    ];
  }
}

/** The end of a run, while it is open and of that run: there is a short form for it. */
export function isEnd(over: MognetResult, result: MognetResult, condition: MognetCondition | undefined): boolean {
  if (condition === undefined || condition.nodeId !== undefined || condition.states !== MOGNET_OPEN_STATES)
    return false;
  return condition.starts === over.numberOfStarts && isPlainEnd(over, result);
}

function withTtl(command: Command, key: string, ttl: number | null): Command[] {
  return ttl === null ? [command] : [command, ["EXPIRE", key, ttl]];
}
