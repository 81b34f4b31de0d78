/** Mognet's JSON, read: plain, without the type tags of Kombu. wire: `json.loads` of Redis fields and message bodies. */
import { decodeJson, type JsonDecodeOptions } from "../json.ts";

/** As `decodeJson`, but objects that look like Kombu's tags stay objects. */
export function decodePlainJson(text: string, options?: Omit<JsonDecodeOptions, "tags">): unknown {
  return decodeJson(text, { ...options, tags: false });
}
