/** Results that are made when they are not there, and revoked whether they are there or not; each in one step. */
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import type { MognetNames } from "../../../protocol/mognet/names.ts";
import { NOT_READY_VALUE } from "../../../protocol/mognet/refusals.ts";
import {
  decodeMognetResult,
  encodeMognetResult,
  finishedResult,
  isDoneResult,
  MOGNET_RESULT_FIELDS,
  newMognetResult,
} from "../../../protocol/mognet/result.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { BackendGetMetaError } from "../errors.ts";
import { runScript } from "../redis/script.ts";
import type { MognetRevocation } from "./mognet-store.ts";
import type { MognetRedisLink } from "./redis-link.ts";
import { tombstoneScript } from "./redis-scripts.ts";
import { noScripts } from "./redis-writes.ts";
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
  const made = encodeMognetResult(newMognetResult({ id }));
  const placeholder = encodeValueFields(NOT_READY_VALUE, settings.resultValueEncoding);
  const args = [
    settings.resultTtl ?? "",
    settings.resultValueTtl ?? "",
    revoke === null ? "get" : revoke.force === true ? "force" : "revoke",
    revoke === null ? "" : encodeAsciiJson(revoke.finished),
    ...made,
    ...placeholder,
  ];
  const key = names.resultKey(id);
  const valueKey = names.valueKey(id);
  return link.insist(id, async (client) => {
    let answer: unknown;
    try {
      answer = await runScript(client, tombstoneScript, [key, valueKey], args);
    } catch (error) {
      if (!(error instanceof Error) || !noScripts.test(error.message)) throw error;
      return withoutScript(client, { key, valueKey, made, placeholder, settings, revoke });
    }
    const [created, revoked, fields] = Array.isArray(answer) ? answer : [];
    if (!Array.isArray(fields)) throw new BackendGetMetaError(id, "Redis gave no result", { retryable: false });
    return { result: decodeMognetResult(fields), created: created === 1, revoked: revoked === 1 };
  });
}

interface Parts {
  key: string;
  valueKey: string;
  made: readonly string[];
  placeholder: readonly (string | Buffer)[];
  settings: WholeStoreSettings;
  revoke: { finished: string; force?: boolean } | null;
}

/** The same where the server allows no scripts; between the look and the write another may write, as with Mognet. */
async function withoutScript(client: Redis, parts: Parts): Promise<MognetRevocation> {
  const { key, valueKey, made, placeholder, settings, revoke } = parts;
  const before = await client.hmget(key, ...MOGNET_RESULT_FIELDS);
  const created = before.every((field) => field === null);
  const complete = created || revoke !== null ? made.filter((_, at) => at % 2 === 1) : before;
  const result = decodeMognetResult(before.map((field, at) => field ?? complete[at] ?? null));
  const repeated = revoke !== null && result.state === "REVOKED" && result.finished === revoke.finished;
  const revokes = revoke !== null && !repeated && (!isDoneResult(result) || revoke.force === true);
  const after = revokes ? finishedResult(result, "REVOKED", revoke.finished) : result;
  const multi = client.multi();
  if (created || revokes) multi.hset(key, ...encodeMognetResult(after));
  for (let at = 0; at < placeholder.length; at += 2)
    multi.hsetnx(valueKey, String(placeholder[at]), placeholder[at + 1] ?? "");
  if (settings.resultTtl !== null) multi.expire(key, settings.resultTtl);
  if (settings.resultValueTtl !== null) multi.expire(valueKey, settings.resultValueTtl);
  const failed = (await multi.exec())?.find(([error]) => error !== null);
  if (failed?.[0]) throw failed[0];
  return { result: after, created, revoked: revokes || repeated };
}
