/** Against what Celery 5.7.0 declared and published (protocol/vectors/celery/amqp-native-delayed-delivery.json). */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { routesFor } from "../routing.ts";
import {
  boundToDelayed,
  canBeDelayed,
  delayedAddress,
  delayedTo,
  delayQueues,
  hasQuorumQueue,
  wasDelayed,
} from "./delayed-delivery.ts";

interface Captured {
  samples: {
    topology?: {
      queues: { name: string; arguments: [string, string, unknown][] }[];
      bindings: { source_name: string; destination_name: string; destination_kind: string; routing_key: string }[];
    };
    client_published?: { exchange: string; routing_key: string }[];
    worker_published?: { exchange: string; routing_key: string }[];
  }[];
}

const file = new URL("../vectors/celery/amqp-native-delayed-delivery.json", import.meta.url);
const { samples } = JSON.parse(readFileSync(file, "utf8")) as Captured;
const topology = samples[0]?.topology;
const jobs = {
  name: "qq",
  exchange: { name: "qqx", type: "topic" as const },
  routingKey: "qq.rk",
  arguments: { "x-queue-type": "quorum" },
};

describe("the broker's delayed delivery", () => {
  test("has Celery's queues with Celery's arguments", () => {
    const theirs = topology?.queues.filter(({ name }) => name.startsWith("celery_delayed_")) ?? [];
    const ours = Object.fromEntries(delayQueues("quorum").map((queue) => [queue.name, queue.arguments]));
    expect(ours).toEqual(
      Object.fromEntries(
        theirs.map(({ name, arguments: args }) => [
          name,
          Object.fromEntries(args.map(([key, , value]) => [key, value])),
        ]),
      ),
    );
    expect(Object.keys(delayQueues("classic")[0]?.arguments ?? {})).not.toContain("x-dead-letter-strategy");
  });

  test("has Celery's bindings, also those of the queue that messages go to", () => {
    const theirs = (topology?.bindings ?? [])
      .filter((one) => /celery_delayed_|^qqx$/.test(one.source_name))
      .map((one) => `${one.source_name} ${one.destination_kind} ${one.destination_name} ${one.routing_key}`);
    const ours = new Set<string>();
    for (const queue of [...delayQueues("quorum"), boundToDelayed(jobs)]) {
      for (const { exchange, routingKey } of [queue, ...(queue.bindings ?? [])]) {
        ours.add(`${exchange.name} queue ${queue.name} ${routingKey}`);
        for (const source of exchange.sources ?? []) {
          ours.add(`${source.exchange.name} exchange ${exchange.name} ${source.routingKey}`);
          for (const first of source.exchange.sources ?? []) {
            ours.add(`${first.exchange.name} exchange ${source.exchange.name} ${first.routingKey}`);
          }
        }
      }
    }
    expect([...ours].sort()).toEqual(theirs.sort());
  });

  test("gets the routing keys that Celery writes, in a retry too", () => {
    const captured = samples.flatMap((one) => [...(one.client_published ?? []), ...(one.worker_published ?? [])]);
    const delayed = captured.filter(({ exchange }) => exchange === "celery_delayed_27");
    expect(delayed.length).toBeGreaterThan(1);
    for (const { exchange, routing_key: routingKey } of delayed) {
      const seconds = Number.parseInt(routingKey.slice(0, 55).replaceAll(".", ""), 2);
      expect(delayedAddress({ exchange: "qqx", routingKey: "qq.rk" }, seconds + 0.9)).toEqual({ exchange, routingKey });
      const before = { exchange: "celery_delayed_delivery", routingKey };
      expect(wasDelayed(before)).toBe(true);
      expect(delayedAddress(before, seconds)).toEqual({ exchange, routingKey });
    }
  });

  test("is not asked for what it could not deliver", () => {
    const address = { exchange: "qqx", routingKey: "qq.rk" };
    for (const seconds of [0.9, 0, -1, Number.NaN, 2 ** 28]) expect(delayedAddress(address, seconds)).toBeNull();
    expect(delayedAddress({ exchange: "fan", routingKey: "" }, 5)).toBeNull();
    expect(delayedTo(address, [jobs])).toEqual([jobs]);
    expect(delayedTo({ exchange: "qqx", routingKey: "other" }, [jobs])).toEqual([]);
    expect(delayedTo({ exchange: "", routingKey: "qq" }, [jobs])).toEqual([]);
    expect(canBeDelayed({ ...jobs, exchange: { name: "qq", type: "direct" } })).toBe(false);
    expect([hasQuorumQueue([jobs]), hasQuorumQueue([{}, { arguments: {} }])]).toEqual([true, false]);
    // What is waited for does come: the last bindings take the key.
    const bindings = [{ routingKey: "#.qq.rk", pattern: "", queue: "qqx" }];
    expect(routesFor("topic", bindings, delayedAddress(address, 5)?.routingKey ?? "")).toEqual(["qqx"]);
  });
});
