import { expect, test } from "vitest";
import { parseAmqpUrl } from "./urls.ts";

// Compared with kombu 5.7.0: kombu.Connection(url).info() and pyamqp's default_connection_params.
test.each([
  ["amqp://", { hostname: "localhost", port: 5672, username: "guest", password: "guest", vhost: "/", tls: false }],
  ["amqp://host", { hostname: "host", vhost: "/" }],
  ["amqp://host/", { vhost: "/" }],
  ["amqp://host//", { vhost: "/" }],
  ["amqp://host/%2F", { vhost: "/" }],
  ["amqp://host/my%20vhost", { vhost: "my vhost" }],
  ["amqp://host/a/b", { vhost: "a/b" }],
  ["amqp://me@host:5673/v", { username: "me", password: "guest", port: 5673, vhost: "v" }],
  ["amqp://m%40e:p%3Aw%2F@host", { username: "m@e", password: "p:w/" }],
  ["amqps://host", { port: 5671, tls: true }],
  ["amqps://host:1234", { port: 1234, tls: true }],
  ["pyamqp://host", { port: 5672, tls: false }],
  ["amqp://[::1]:5673/x", { hostname: "::1", port: 5673, shown: "amqp://[::1]:5673/x" }],
  ["amqp://host?heartbeat=30", { heartbeat: 30 }],
  ["amqp://host", { heartbeat: null }],
])("%s", (url, wanted) => {
  expect(parseAmqpUrl(url)).toMatchObject(wanted);
});

test("TLS that is asked for apart from the URL changes the default port", () => {
  expect(parseAmqpUrl("amqp://host", true)).toMatchObject({ tls: true, port: 5671 });
});

test("what is shown of a URL holds no credentials, nor does the error of a bad one", () => {
  expect(parseAmqpUrl("amqp://me:secret@host/v").shown).toBe("amqp://host:5672/v");
  expect(() => parseAmqpUrl("redis://me:secret@host")).toThrow(/amqps:\/\/ URL/);
  for (const url of ["redis://me:secret@host", "amqp://me:secret@ho st"]) {
    expect(() => parseAmqpUrl(url)).toThrow(expect.not.stringContaining("secret"));
  }
});
