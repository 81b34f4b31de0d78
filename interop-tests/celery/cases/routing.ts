/** Which way a message goes, in which order it is taken, and what the worker sees of its journey. */
import type { CallCase, OrderCase } from "../case.ts";

export const routingCases: readonly (CallCase | OrderCase)[] = [
  {
    kind: "call",
    name: "routing/a queue by name",
    task: "fixture.request_info",
    expect: { fields: { delivery_info: { exchange: "", routing_key: "$QUEUE", priority: 0, redelivered: false } } },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "routing/a direct exchange and its routing key",
    task: "fixture.request_info",
    options: { queue: null, exchange: "main-$WORKER", routing_key: "$QUEUE" },
    expect: {
      fields: { delivery_info: { exchange: "$QUEUE", routing_key: "$QUEUE", priority: 0, redelivered: false } },
    },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "routing/a topic exchange",
    task: "fixture.request_info",
    // By its queue: Celery's client learns from it that the exchange is a topic one.
    options: { queue: "topic-$WORKER", routing_key: "$WORKER.news" },
    expect: {
      fields: {
        delivery_info: { exchange: "interop.topic", routing_key: "$WORKER.news", priority: 0, redelivered: false },
      },
    },
    control: "the routing key names the worker",
  },
  {
    kind: "call",
    name: "routing/task_routes by name",
    task: "fixture.whoami",
    options: { queue: null },
    expect: { fields: { lang: "js" } },
    control: "the route leads to TypeScript",
  },
  {
    kind: "call",
    name: "routing/task_routes by pattern",
    task: "fixture.mul",
    args: "[6, 7]",
    options: { queue: null },
    expect: { value: "42" },
  },
  {
    kind: "call",
    name: "routing/the priority is seen by the worker",
    task: "fixture.request_info",
    options: { priority: 7 },
    expect: { fields: { delivery_info: { exchange: "", routing_key: "$QUEUE", priority: 7, redelivered: false } } },
    control: "the request names its sender and worker",
  },
  {
    kind: "order",
    name: "priority/RabbitMQ: the highest number first",
    priorities: [0, 3, 9],
    expect: { value: "[9,3,0]" },
  },
  {
    kind: "order",
    name: "priority/Redis: the lowest number first",
    priorities: [9, 3, 0],
    expect: { value: "[0,3,9]" },
  },
];

export const requestCases: readonly CallCase[] = [
  {
    kind: "call",
    name: "request/ids, retries and arguments",
    task: "fixture.request_info",
    args: "[1, null]",
    kwargs: '{"k": [2.5]}',
    expect: {
      fields: {
        id: "$ID",
        task: "fixture.request_info",
        root_id: "$ID",
        correlation_id: "$ID",
        retries: 0,
        args: [1, null],
        kwargs: { k: [2.5] },
      },
    },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "request/ids of a workflow",
    task: "fixture.request_info",
    options: { root_id: "root", parent_id: "parent", group_id: "group", group_index: 3 },
    expect: { fields: { root_id: "root", parent_id: "parent", group: "group", group_index: 3 } },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "request/time limits",
    task: "fixture.request_info",
    options: { time_limit: 600, soft_time_limit: 300.5 },
    expect: { fields: { timelimit: [600, 300.5] } },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "request/headers of the caller",
    task: "fixture.request_info",
    options: { headers: { tenant: "Grüße", n: 5, flag: true, nothing: null, deep: { list: [1, "x"] } } },
    expect: { fields: { headers: { tenant: "Grüße", n: 5, flag: true, nothing: null, deep: { list: [1, "x"] } } } },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "request/argsrepr and kwargsrepr as Python writes them",
    task: "fixture.request_info",
    args: '[1, 2.5, "it\'s", null, [true, {"k": "v"}]]',
    kwargs: '{"a": [1, [2, [3, [4]]]], "b": "x"}',
    expect: { fields: { kwargsrepr: "{'a': [1, [2, [...]]], 'b': 'x'}" } },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "request/argsrepr and shadow of the caller's choice",
    task: "fixture.request_info",
    args: '["secret"]',
    options: { argsrepr: "(***)", kwargsrepr: "{***}", shadow: "alias" },
    expect: { fields: { argsrepr: "(***)", kwargsrepr: "{***}", shadow: "alias" } },
    control: "the request names its sender and worker",
  },
  {
    kind: "call",
    name: "request/a child knows its parent and root",
    task: "fixture.spawn",
    args: '["fixture.add", [1, 1], {}]',
    kwargs: '{"task_id": "child-$ID", "queue": "$QUEUE"}',
    expect: { value: '"child-$ID"' },
  },
];
