import { describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { isRedisUrl, parseRedisUrl } from "./redis-url.ts";

const only = (url: string) => {
  const { endpoints, sentinel } = parseRedisUrl(url);
  expect(endpoints).toHaveLength(1);
  expect(sentinel).toBeNull();
  return endpoints[0]!;
};

describe("plain servers", () => {
  test.each([
    ["redis://", { host: "127.0.0.1", port: 6379, db: 0, tls: null, name: "redis://127.0.0.1:6379/0" }],
    ["redis://cache", { host: "cache", port: 6379, db: 0, tls: null, name: "redis://cache:6379/0" }],
    ["redis://cache:1234/5", { host: "cache", port: 1234, db: 5, tls: null, name: "redis://cache:1234/5" }],
    ["redis://cache/?virtual_host=7", { host: "cache", port: 6379, db: 7, tls: null, name: "redis://cache:6379/7" }],
    ["redis://[::1]:6380/1", { host: "::1", port: 6380, db: 1, tls: null, name: "redis://[::1]:6380/1" }],
    ["REDIS://h/", { host: "h", port: 6379, db: 0, tls: null, name: "redis://h:6379/0" }],
    ["rediss://h", { host: "h", port: 6379, db: 0, tls: {}, name: "rediss://h:6379/0" }],
  ])("%s", (url, expected) => expect(only(url)).toEqual(expected));

  test.each([
    ["redis://:secret@h", undefined, "secret"],
    ["redis://user@h", "user", undefined],
    ["redis://user:p%40ss%2F%3A%23@h", "user", "p@ss/:#"],
    ["redis://user:p@ss@h", "user", "p@ss"],
    ["redis://u%25:a+b%zz@h", "u%", "a+b%zz"],
  ])("credentials of %s", (url, username, password) => {
    const endpoint = only(url);
    expect([endpoint.username, endpoint.password, endpoint.host]).toEqual([username, password, "h"]);
    expect(endpoint.name).toBe("redis://h:6379/0");
  });

  test("TLS options come from the query", () => {
    expect(
      only("rediss://h/2?ssl_cert_reqs=none&ssl_ca_certs=%2Ftmp%2Fca.pem&ssl_certfile=c&ssl_keyfile=k").tls,
    ).toEqual({
      ssl_cert_reqs: "none",
      ssl_ca_certs: "/tmp/ca.pem",
      ssl_certfile: "c",
      ssl_keyfile: "k",
    });
  });

  test("several URLs are tried in turn", () => {
    const { endpoints } = parseRedisUrl("redis://a/1; redis://:x@b:2/3;");
    expect(endpoints.map((endpoint) => [endpoint.name, endpoint.password])).toEqual([
      ["redis://a:6379/1", undefined],
      ["redis://b:2/3", "x"],
    ]);
    expect(parseRedisUrl(["redis://a", "redis://b"]).endpoints).toHaveLength(2);
  });
});

test.each(["redis+socket", "socket", "unix"])("%s:// names a unix socket", (scheme) => {
  expect(only(`${scheme}://user:pw@/run/redis%20x.sock?virtual_host=3`)).toEqual({
    host: "",
    port: 0,
    path: "/run/redis x.sock",
    username: "user",
    password: "pw",
    db: 3,
    tls: null,
    name: `${scheme}:///run/redis x.sock?virtual_host=3`,
  });
});

describe("sentinels", () => {
  test("are one target with the first db and credentials written", () => {
    const target = parseRedisUrl("sentinel://:pw@h1:1;sentinel://h2/4", {
      masterName: "main",
      sentinelKwargs: { password: "s3" },
    });
    expect(target.sentinel).toEqual({
      masterName: "main",
      nodes: [
        { host: "h1", port: 1 },
        { host: "h2", port: 26379 },
      ],
      password: "s3",
      tls: null,
    });
    expect(target.endpoints).toEqual([
      { host: "", port: 0, password: "pw", db: 4, tls: null, name: "sentinel://h1:1;h2:26379/4 (main)" },
    ]);
  });

  test("need the master's name", () => {
    expect(() => parseRedisUrl("sentinel://h1")).toThrow(/master_name/);
    expect(parseRedisUrl("sentinel://h1;h2/1?master_name=m").sentinel?.masterName).toBe("m");
  });
});

test.each([
  "amqp://h",
  "redis//h",
  "",
  "redis://u:hunter2@h/db",
  "redis://u:hunter2@h:99999",
  "redis://u:hunter2@h:x",
  "redis+socket://u:hunter2@",
  "sentinel://u:hunter2@a;redis://u:hunter2@b",
])("refuses %j without telling the password", (url) => {
  expect(() => parseRedisUrl(url, { masterName: "m" })).toThrow(ImproperlyConfigured);
  expect(() => parseRedisUrl(url, { masterName: "m" })).not.toThrow(/hunter2/);
});

test("knows its own schemes", () => {
  expect(["redis://", "rediss://h", "redis+socket:///x", "sentinel://a;sentinel://b"].every(isRedisUrl)).toBe(true);
  expect(["amqp://h", "redis", "http://redis://"].some(isRedisUrl)).toBe(false);
});
