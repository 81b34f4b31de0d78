/** Lua on Redis by its SHA1, loaded again when the server has forgotten it (restart, failover, `SCRIPT FLUSH`). */
import { createHash } from "node:crypto";
import type { Redis } from "../../runtime/redis-connection.ts";

export class RedisScript {
  readonly lua: string;
  readonly sha: string;

  constructor(lua: string) {
    this.lua = lua;
    this.sha = createHash("sha1").update(lua).digest("hex");
  }
}

export type ScriptArgument = string | number | Buffer;

/** One EVALSHA; on NOSCRIPT the script is sent whole. Replies are as ioredis makes them: texts, numbers, arrays, null. */
export async function runScript(
  client: Redis,
  script: RedisScript,
  keys: readonly (string | Buffer)[],
  args: readonly ScriptArgument[],
): Promise<unknown> {
  try {
    return await client.evalsha(script.sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
    return await client.eval(script.lua, keys.length, ...keys, ...args);
  }
}

/** As `runScript`; texts of the reply as bytes. */
export async function runScriptForBytes(
  client: Redis,
  script: RedisScript,
  keys: readonly string[],
  args: readonly ScriptArgument[],
): Promise<unknown> {
  try {
    return await client.callBuffer("EVALSHA", script.sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
    return await client.callBuffer("EVAL", script.lua, keys.length, ...keys, ...args);
  }
}
