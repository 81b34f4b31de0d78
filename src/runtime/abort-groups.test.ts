import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { AbortGroups } from "./abort-groups.ts";

test("any number of members costs a signal one listener, and none when they have left", () => {
  const groups = new AbortGroups();
  const { signal } = new AbortController();
  const members = Array.from({ length: 100 }, () => ({ onAbort: () => undefined }));
  for (const member of members) groups.join(signal, member);
  expect(getEventListeners(signal, "abort")).toHaveLength(1);
  for (const member of members) groups.leave(signal, member);
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

test("every member hears of the abort, also when members leave meanwhile", () => {
  const groups = new AbortGroups();
  const controller = new AbortController();
  const heard: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const member = {
      onAbort: (reason: unknown) => {
        heard.push(reason);
        groups.leave(controller.signal, member);
      },
    };
    groups.join(controller.signal, member);
  }
  controller.abort("enough");
  expect(heard).toEqual(["enough", "enough", "enough"]);
});
