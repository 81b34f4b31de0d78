/** Messages and results that come from no client: odd, broken, or of a past that cannot be made in seconds. */
import type { Case } from "../case.ts";

const running = { state: "RUNNING", node_id: "long gone", started: "2024-01-01T00:00:00Z" };

export const messageCases: readonly Case[] = [
  { name: "retries/four crashes are borne", raw: { hash: { ...running, number_of_starts: 4, number_of_stops: 1 } } },
  { name: "retries/the fifth is not", raw: { hash: { ...running, number_of_starts: 5, number_of_stops: 1 } } },
  { name: "retries/more stops than starts", raw: { hash: { ...running, number_of_starts: 1, number_of_stops: 5 } } },
  { name: "stack/a parent that is not there", raw: { payload: { stack: ["8f6f9f7e-2f0d-4b7e-9d52-0a4c5d0f7a11"] } } },
  {
    name: "stack/a revoked parent",
    raw: { others: { $PARENT: { state: "REVOKED" } }, payload: { stack: ["$PARENT"] } },
  },
  {
    name: "stack/a revoked grandparent",
    raw: {
      others: { $GRAND: { state: "REVOKED" }, $PARENT: { state: "RUNNING" } },
      payload: { stack: ["$GRAND", "$PARENT"] },
    },
  },
  {
    name: "stack/a failed parent",
    raw: { others: { $PARENT: { state: "FAILURE" } }, payload: { stack: ["$PARENT"] } },
  },
  {
    name: "stack/64 deep",
    raw: { others: { $PARENT: { state: "RUNNING" } }, payload: { stack: Array.from({ length: 64 }, () => "$PARENT") } },
  },
  {
    name: "stack/65 deep",
    raw: { others: { $PARENT: { state: "RUNNING" } }, payload: { stack: Array.from({ length: 65 }, () => "$PARENT") } },
  },
  { name: "results/none", raw: { hash: null }, endless: true },
  { name: "results/only an id", raw: { onlyHash: { id: "$ID" } }, steps: [{ until: "completed" }] },
  {
    name: "results/one that has ended",
    raw: { hash: { state: "FAILURE", number_of_starts: 1, number_of_stops: 1 } },
    endless: true,
  },
  { name: "results/one that was revoked", raw: { hash: { state: "REVOKED", number_of_stops: 1 } }, endless: true },
  { name: "results/fields that nobody knows", raw: { hash: { surprise: [1] } } },
  {
    name: "messages/only an id and a name",
    raw: {
      payload: {
        args: undefined,
        kwargs: undefined,
        stack: undefined,
        metadata: undefined,
        deadline: undefined,
        queue_name: undefined,
        kwargs_repr: undefined,
        priority: undefined,
        name: "fixture.request",
      },
    },
  },
  { name: "messages/keys that nobody knows", raw: { payload: { surprise: 1 }, envelope: { surprise: 2 } } },
  { name: "messages/an id in capitals", raw: { payload: { id: "$CAPITALS" } } },
  { name: "messages/a priority as text", raw: { payload: { priority: "7", name: "fixture.request", args: [] } } },
  { name: "messages/a deadline as a number", raw: { payload: { deadline: 90, name: "fixture.request", args: [] } } },
  {
    name: "messages/a deadline as days and hours",
    raw: { payload: { deadline: "1 day, 0:00:01", name: "fixture.request", args: [] } },
  },
  {
    name: "messages/a deadline of Unix seconds as text",
    raw: { payload: { deadline: "4070908800", name: "fixture.request", args: [] } },
  },
  { name: "messages/a duration in seconds as text is an instant long gone", raw: { payload: { deadline: "5" } } },
  {
    name: "messages/other properties",
    raw: {
      properties: {
        contentType: "text/plain",
        contentEncoding: "latin-1",
        deliveryMode: 2,
        messageId: "other",
        headers: { x: 1 },
      },
    },
  },
  {
    name: "messages/spaces and escapes",
    raw: {
      body: ' { "id" : "x", "kind":"Request", "payload": {"id":"$ID","name":"fixture.echo","args":["caf\\u00e9 \\ud83d\\ude00"]} } ',
    },
  },
  { name: "garbage/no JSON", raw: { body: "{not json" }, endless: true },
  { name: "garbage/nothing", raw: { body: "" }, endless: true },
  { name: "garbage/JSON that is no object", raw: { body: "[1,2]" }, endless: true },
  { name: "garbage/no payload", raw: { envelope: { payload: undefined } }, endless: true },
  { name: "garbage/another kind", raw: { envelope: { kind: "Surprise" } }, endless: true },
  { name: "garbage/arguments that are none", raw: { payload: { args: "x" } }, endless: true },
  { name: "garbage/keywords that are none", raw: { payload: { kwargs: null } }, endless: true },
  { name: "garbage/a priority out of bounds", raw: { payload: { priority: 11 } }, endless: true },
  { name: "garbage/a deadline that is none", raw: { payload: { deadline: "soon" } }, endless: true },
  { name: "garbage/no name", raw: { payload: { name: undefined } }, endless: true },
  { name: "control/no JSON", raw: { control: true, hash: null, body: "\u0000" }, endless: true },
  { name: "control/another kind", raw: { control: true, hash: null, envelope: { kind: "Surprise" } }, endless: true },
  {
    name: "control/an unknown query",
    raw: { control: true, hash: null, envelope: { kind: "Query", payload: { id: "$ID", name: "Surprise" } } },
    endless: true,
  },
  {
    name: "control/a query without an address",
    raw: { control: true, hash: null, envelope: { kind: "Query", payload: { id: "$ID", name: "Status" } } },
    endless: true,
  },
  {
    name: "control/a revoke of nothing",
    raw: { control: true, hash: null, envelope: { kind: "Revoke", payload: { id: "$ID" } } },
    endless: true,
  },
  {
    name: "control/a revoke without an id",
    raw: { control: true, hash: null, envelope: { kind: "Revoke", payload: {} } },
    endless: true,
  },
];
