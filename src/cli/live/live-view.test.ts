import { expect, test, vi } from "vitest";
import { Celery } from "../../app.ts";
import { LiveView } from "./live-view.ts";

test("with the help open any key closes it and does nothing else", async () => {
  await using app = new Celery("view", { settings: { broker_url: "memory://" } });
  const revoke = vi.spyOn(app.control, "revoke").mockResolvedValue(null);
  const stop = new AbortController();
  const view = new LiveView(app, stop, async () => undefined);
  view.place.chosen = "some-id";
  for (const [text, name] of [
    ["t", "t"],
    ["q", "q"],
    ["?", "?"],
    ["\u001b", "escape"],
  ] as const) {
    view.press("?", { name: "?" });
    expect(view.place.help).toBe(true);
    view.press(text, { name });
    expect(view.place.help).toBe(false);
  }
  expect(revoke).not.toHaveBeenCalled();
  expect(stop.signal.aborted).toBe(false);
  view.press("t", { name: "t" });
  expect(revoke).toHaveBeenCalledWith("some-id", { terminate: true });
  view.press("q", { name: "q" });
  expect(stop.signal.aborted).toBe(true);
});
