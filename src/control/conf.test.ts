import { expect, test } from "vitest";
import { encodeJson } from "../../protocol/json.ts";
import { parseSettings } from "../settings/settings.ts";
import { confTable } from "./conf.ts";

test("defaults that are floats in Celery travel as floats, what was set as it was given", () => {
  const { settings } = parseSettings({ code: { event_queue_ttl: 7 }, env: {} });
  const table = confTable(settings, true, new Set(["event_queue_ttl"]));
  const shown = ["event_queue_ttl", "event_queue_expires", "control_queue_ttl", "worker_soft_shutdown_timeout"];
  expect(shown.map((name) => encodeJson(table.get(name)))).toEqual(["7", "60.0", "300.0", "0.0"]);
});
