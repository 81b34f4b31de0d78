/** Mognet's defaults for what is stored. wire: Mognet 2.0.0 backend/backend_config.py, state/state_backend_config.py. */
import { DEFAULT_JSON_DEPTH } from "../../../protocol/json.ts";
import { defaultMaxDecompressedBytes } from "../../runtime/compression.ts";
import type { MognetStoreSettings } from "./mognet-store.ts";

export type WholeStoreSettings = Required<MognetStoreSettings>;

export function wholeStoreSettings(settings: MognetStoreSettings): WholeStoreSettings {
  const { resultTtl = 1_814_400, resultValueTtl = 604_800, resultValueEncoding = "gzip", stateTtl = 7_200 } = settings;
  const {
    exactFloats = false,
    maxValueBytes = defaultMaxDecompressedBytes,
    maxValueDepth = DEFAULT_JSON_DEPTH,
  } = settings;
  return { resultTtl, resultValueTtl, resultValueEncoding, stateTtl, exactFloats, maxValueBytes, maxValueDepth };
}

/** How a value's JSON is read. */
export function valueReading({ exactFloats, maxValueDepth }: WholeStoreSettings): {
  floats: "number" | "keep";
  maxDepth: number;
} {
  return { floats: exactFloats ? "keep" : "number", maxDepth: maxValueDepth };
}
