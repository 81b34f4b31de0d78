/** Mognet's defaults for what is stored. wire: Mognet 2.0.0 backend/backend_config.py, state/state_backend_config.py. */
import type { MognetStoreSettings } from "./mognet-store.ts";

export type WholeStoreSettings = Required<MognetStoreSettings>;

export function wholeStoreSettings(settings: MognetStoreSettings): WholeStoreSettings {
  const { resultTtl = 1_814_400, resultValueTtl = 604_800, resultValueEncoding = "gzip", stateTtl = 7_200 } = settings;
  return { resultTtl, resultValueTtl, resultValueEncoding, stateTtl };
}
