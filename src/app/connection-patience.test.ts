import { expect, test } from "vitest";
import { parseSettings, type SettingsInput } from "../settings/settings.ts";
import { ConnectionPatience } from "./connection-patience.ts";

const patience = (code: SettingsInput) => new ConnectionPatience(parseSettings({ code, env: {} }).settings);
const down = new RangeError("connection refused");

test("by default it never gives up", () => {
  const one = patience({});
  for (let attempt = 0; attempt < 1000; attempt++) expect(one.failed(down)).toBeNull();
});

test("it gives up at once where retrying is off, at the start and later", () => {
  expect(patience({ broker_connection_retry_on_startup: false }).failed(down)?.message).toContain("on_startup is off");
  const later = patience({ broker_connection_retry: false, broker_connection_retry_on_startup: true });
  expect(later.failed(down)).toBeNull();
  later.connected();
  expect(later.failed(down)?.message).toContain("broker_connection_retry is off");
});

test("it counts the attempts since the connection last stood", () => {
  const two = patience({ broker_connection_max_retries: 2 });
  expect([two.failed(down), two.failed(down)]).toEqual([null, null]);
  two.connected();
  expect([two.failed(down), two.failed(down)]).toEqual([null, null]);
  expect(two.failed(down)?.message).toContain("after 3 attempts");
});
