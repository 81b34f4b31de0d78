/**
 * How long a value this server takes (`proto-max-bulk-len`). It closes the connection when it meets a longer one, often before its
 * refusal can be read, so that nobody could tell it from a lost connection: long values are measured before they are sent.
 */
import type { Redis } from "../../runtime/redis-connection.ts";

/** The least that a server can be limited to: what is shorter needs no look. */
export const LEAST_LIMIT = 1024 * 1024;

/** Why the server does not take a value of so many bytes; null when it does, or does not tell. Rejects when the connection is lost. */
export async function whyTooLong(client: Redis, bytes: number): Promise<string | null> {
  let answer: unknown;
  try {
    answer = await client.call("CONFIG", "GET", "proto-max-bulk-len");
  } catch (error) {
    if (error instanceof Error && error.name === "ReplyError") return null;
    throw error;
  }
  const limit = Array.isArray(answer) ? Number(answer[1]) : Number.NaN;
  return bytes > limit ? `${bytes} bytes are more than its proto-max-bulk-len of ${limit}` : null;
}
