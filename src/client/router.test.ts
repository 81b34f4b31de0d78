/** What only this side can say; the rules themselves are compared with Celery in routes.service.test.ts. */
import { describe, expect, test } from "vitest";
import { parseSettings, type SettingsInput } from "../settings/settings.ts";
import { Queues } from "./queues.ts";
import { Router } from "./router.ts";

function routerOf(code: SettingsInput | Record<string, unknown>): Router {
  const { settings } = parseSettings({ code, env: {} });
  return new Router(settings, new Queues(settings));
}
const goes = (router: Router, name: string) => router.destination(router.route({}, name)).address.routingKey;

describe("routes in code", () => {
  test("may be a Map with regular expressions, anchored at the start and free of state", () => {
    const router = routerOf({
      task_routes: new Map<string | RegExp, string>([
        [/feed\./g, "feeds"],
        [/.*\.slow$/i, "slow"],
      ]),
    });
    for (let i = 0; i < 2; i++) {
      expect(goes(router, "feed.x")).toBe("feeds");
      expect(goes(router, "my.feed.x")).toBe("celery");
      expect(goes(router, "my.SLOW")).toBe("slow");
    }
  });

  test("may be pairs, or a function that sees the whole call", () => {
    expect(
      goes(
        routerOf({
          task_routes: [
            ["a.*", { queue: "a" }],
            [/b/, "b"],
          ],
        }),
        "b.x",
      ),
    ).toBe("b");
    const router = routerOf({
      task_routes: (name, args, kwargs, options, task) => ({
        queue: [name, args.length, Object.keys(kwargs).join(), options.queue?.name, task?.name].join("-"),
        priority: 3,
      }),
    });
    const routed = router.route({ routingKey: "k" }, "n", [1, 2], { x: 1 }, { name: "t" });
    expect(routed).toMatchObject({ queue: { name: "n-2-x--t" }, routingKey: "k", priority: 3 });
  });

  test("that answer nonsense are named", () => {
    expect(() => goes(routerOf({ task_routes: () => ({ que: "x" }) }), "n")).toThrow(
      /answer for n: unknown name "que"; did you mean/,
    );
    expect(() => goes(routerOf({ task_routes: async () => "q" }), "n")).toThrow(/gave a promise/);
  });
});

describe("queues", () => {
  test("that must exist are named in the error", () => {
    const router = routerOf({
      task_queues: { feeds: {}, celery: {} },
      task_create_missing_queues: false,
      task_routes: { x: "feed" },
    });
    expect(() => goes(router, "x")).toThrow(
      /queue "feed" is not in task_queues \(feeds, celery\).*did you mean "feeds"/,
    );
  });

  test("made on demand are remembered up to a bound", () => {
    const { settings } = parseSettings({ env: {} });
    const queues = new Queues(settings);
    const first = queues.get("q-0");
    expect(queues.get("q-0")).toBe(first);
    for (let i = 1; i <= 10_000; i++) queues.get(`q-${i}`);
    expect(queues.get("q-0")).toEqual(first);
    expect(queues.configured.map(({ name }) => name)).toEqual(["celery"]);
  });
});

test("an exchange alone, without queue and routing key, is refused: Celery would lose the message", () => {
  const router = routerOf({ task_routes: { x: { exchange: "ex" } } });
  expect(() => goes(router, "x")).toThrow(/needs a routing key/);
});
