import { expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { checkRedisTls, parseRedisUrl } from "./redis-connection.ts";
import { tlsOptions } from "./redis-tls.ts";

test("TLS options of Kombu become Node's", () => {
  expect(
    tlsOptions({ ssl_cert_reqs: "none", ssl_check_hostname: "false", minVersion: "TLSv1.3" }, "host"),
  ).toMatchObject({
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    servername: "host",
  });
  expect(tlsOptions({ ssl_cert_reqs: "CERT_REQUIRED" }, "10.0.0.1")).toEqual({ rejectUnauthorized: true });
  expect(() => tlsOptions({ ssl_ca_certs: "/nowhere/ca.pem" }, "h")).toThrow(/ssl_ca_certs/);
  expect(() => tlsOptions({ ssl_ca_cert: "ca.pem" }, "h")).toThrow(/no option ssl_ca_cert; there are .*ssl_ca_certs/);
  expect(() => tlsOptions({ ca_certs: "ca.pem" }, "h")).toThrow(/no option ca_certs; .* begin with ssl_/);
});

test.each([
  ["TLSv1_2", "TLSv1.2"],
  ["TLSVersion.TLSv1_3", "TLSv1.3"],
  ["TLSv1.1", "TLSv1.1"],
  ["771", "TLSv1.2"],
  [772, "TLSv1.3"],
  ["MINIMUM_SUPPORTED", "TLSv1"],
  [null, undefined],
])("ssl_min_version %s of redis-py is Node's minVersion %s", (value, minVersion) => {
  expect(tlsOptions({ ssl_min_version: value }, "")).toEqual({ minVersion });
});

test.each(["SSLv3", "768", "TLSv1_4", "constructor", ""])("ssl_min_version %j is refused", (value) => {
  expect(() => tlsOptions({ ssl_min_version: value }, "")).toThrow(/ssl_min_version is TLSv1.*not "/);
});

test("a folder of certificates is refused with the name of what takes a file", () => {
  expect(() => tlsOptions({ ssl_ca_path: "/etc/ssl/certs" }, "h")).toThrow(/no option ssl_ca_path; .* ssl_ca_certs$/);
});

test("the options of every endpoint, of the settings and of the sentinels are checked without a connection", () => {
  const second = parseRedisUrl("rediss://a;rediss://b?ssl_nonsense=1");
  expect(() => checkRedisTls(second, undefined)).toThrow(ImproperlyConfigured);
  expect(() => checkRedisTls(parseRedisUrl("rediss://a"), { ssl_nonsense: 1 })).toThrow(/ssl_nonsense/);
  const sentinelKwargs = { ssl: true, ssl_nonsense: 1 };
  const found = parseRedisUrl("sentinel://a", { masterName: "m", sentinelKwargs });
  expect(() => checkRedisTls(found, undefined)).toThrow(/ssl_nonsense/);
  checkRedisTls(parseRedisUrl("rediss://a?ssl_min_version=771;redis://b"), undefined);
});
