import { describe, expect, test } from "vitest";
import {
  decodeBinding,
  encodeBinding,
  listsOfQueue,
  priorityStep,
  queueForPriority,
  queueOfList,
  RedisKeys,
  SEP,
} from "./redis-keys.ts";

describe("lists of a queue", () => {
  test("serve each priority at the step below it", () => {
    expect([0, 2, 3, 5, 6, 9].map((priority) => queueForPriority("q", priority))).toEqual([
      "q",
      "q",
      `q${SEP}3`,
      `q${SEP}3`,
      `q${SEP}6`,
      `q${SEP}9`,
    ]);
    expect(listsOfQueue("q")).toEqual(["q", `q${SEP}3`, `q${SEP}6`, `q${SEP}9`]);
  });

  test("below the first step are those of the last, as Python's index of -1 says", () => {
    expect(priorityStep(1, [2, 4])).toBe(4);
  });

  test("lead back to the queue, also when its name holds the separator", () => {
    for (const queue of ["q", "a:b", "a:3", `x${SEP}y`, ""]) {
      for (const list of listsOfQueue(queue)) expect(queueOfList(list)).toBe(queue);
    }
    expect(queueOfList("a:b", [0, 3], ":")).toBe("a:b");
    expect(queueOfList("a:3", [0, 3], ":")).toBe("a");
    expect(queueOfList("q:3", [0, 3], "")).toBe("q:3");
  });
});

test("a binding member survives, and one of another separator is none", () => {
  const binding = { routingKey: "cap.#", pattern: "^cap\\..*?$", queue: "q" };
  expect(encodeBinding(binding)).toBe("cap.#\x06\x16^cap\\..*?$\x06\x16q");
  expect(decodeBinding(encodeBinding(binding))).toEqual(binding);
  expect(decodeBinding(encodeBinding(binding, ":"))).toBeNull();
  expect(decodeBinding("")).toBeNull();
});

describe("keys of a broker URL", () => {
  test("are Kombu's", () => {
    const keys = new RedisKeys();
    expect(keys).toMatchObject({ unacked: "unacked", unackedIndex: "unacked_index", unackedMutex: "unacked_mutex" });
    expect(keys.bindingDeadlines).toBe("_kombu.binding_deadlines");
    expect(keys.binding("celery")).toBe("_kombu.binding.celery");
    expect(keys.bindingPermanent("celery")).toBe("_kombu.binding_permanent.celery");
    expect(keys.listsByUrgency(["a", "b"]).slice(0, 4)).toEqual(["a", "b", `a${SEP}3`, `b${SEP}3`]);
  });

  test("all carry the global prefix, channels too", () => {
    const keys = new RedisKeys({ globalKeyprefix: "pfx:", db: 8, unackedKey: "u" });
    expect(keys.unacked).toBe("pfx:u");
    expect(keys.bindingDeadlines).toBe("pfx:_kombu.binding_deadlines");
    expect(keys.list("q", 9)).toBe(`pfx:q${SEP}9`);
    expect(keys.queueOf(`pfx:q${SEP}9`)).toBe("q");
    expect(keys.prefixed("x")).toBe("pfx:x");
    expect(keys.fanoutChannel("celery.pidbox", "")).toBe("pfx:/8.celery.pidbox");
    expect(keys.fanoutChannel("celeryev", "task.sent")).toBe("pfx:/8.celeryev/task.sent");
    expect(keys.fanoutPattern("celeryev", "worker.#")).toBe("pfx:/8.celeryev/worker.*");
  });

  test("lead from a channel to exchange and routing key", () => {
    const keys = new RedisKeys({ db: 3 });
    expect(keys.exchangeOfChannel("/3.celeryev/task.sent")).toEqual({ exchange: "celeryev", routingKey: "task.sent" });
    expect(keys.exchangeOfChannel("/3.celery.pidbox")).toEqual({ exchange: "celery.pidbox", routingKey: "" });
    expect(keys.exchangeOfChannel("/4.celery.pidbox")).toBeNull();
  });

  test("follow the fanout options", () => {
    expect(new RedisKeys({ fanoutPrefix: false }).fanoutChannel("x", "rk")).toBe("x/rk");
    expect(new RedisKeys({ fanoutPrefix: "p{db}:", db: 2 }).fanoutChannel("x", "rk")).toBe("p2:x/rk");
    expect(new RedisKeys({ fanoutPatterns: false }).fanoutChannel("x", "rk")).toBe("/0.x");
  });
});
