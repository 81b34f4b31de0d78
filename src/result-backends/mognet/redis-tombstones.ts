/** Results that are made when they are not there, and revoked whether they are there or not; each in one step. */
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import type { MognetNames } from "../../../protocol/mognet/names.ts";
import { NOT_READY_VALUE } from "../../../protocol/mognet/refusals.ts";
import { decodeMognetResult, encodeMognetResult, newMognetResult } from "../../../protocol/mognet/result.ts";
import { BackendGetMetaError } from "../errors.ts";
import { runScript } from "../redis/script.ts";
import type { MognetRevocation } from "./mognet-store.ts";
import type { MognetRedisLink } from "./redis-link.ts";
import { tombstoneScript } from "./redis-scripts.ts";
import type { WholeStoreSettings } from "./store-settings.ts";
import { encodeValueFields } from "./value-hash.ts";

/** `revoke` null: only made. */
export function tombstone(
  link: MognetRedisLink,
  names: MognetNames,
  settings: WholeStoreSettings,
  id: string,
  revoke: { finished: string; force?: boolean } | null,
): Promise<MognetRevocation> {
  const args = [
    settings.resultTtl ?? "",
    settings.resultValueTtl ?? "",
    revoke === null ? "get" : revoke.force === true ? "force" : "revoke",
    revoke === null ? "" : encodeAsciiJson(revoke.finished),
    ...encodeMognetResult(newMognetResult({ id })),
    ...encodeValueFields(NOT_READY_VALUE, settings.resultValueEncoding),
  ];
  return link.insist(id, async (client) => {
    const answer = await runScript(client, tombstoneScript, [names.resultKey(id), names.valueKey(id)], args);
    const [created, revoked, fields] = Array.isArray(answer) ? answer : [];
    if (!Array.isArray(fields)) throw new BackendGetMetaError(id, "Redis gave no result", { retryable: false });
    return { result: decodeMognetResult(fields), created: created === 1, revoked: revoked === 1 };
  });
}
