/**
 * TLS options as Celery and Kombu hand them to redis-py, in Node's words.
 * wire: kombu/utils/url.py, redis/connection.py `SSLConnection` and `URL_QUERY_ARGUMENT_PARSERS`.
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions, SecureVersion } from "node:tls";
import { ImproperlyConfigured } from "../../protocol/errors.ts";

/** Node's TLS options from redis-py's `ssl_…` ones; Node's own names pass unchanged. Throws `ImproperlyConfigured` for any other. */
export function tlsOptions(ssl: Readonly<Record<string, unknown>>, host: string): ConnectionOptions {
  const found: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(ssl)) {
    if (key === "ssl_cert_reqs") found.rejectUnauthorized = !isCertNone(value);
    else if (key === "ssl_ca_certs") found.ca = readPem(key, value);
    else if (key === "ssl_ca_data") found.ca = value;
    else if (key === "ssl_certfile") found.cert = readPem(key, value);
    else if (key === "ssl_keyfile") found.key = readPem(key, value);
    else if (key === "ssl_password" || key === "ssl_keyfile_password") found.passphrase = value;
    else if (key === "ssl_check_hostname") {
      if (value === false || String(value).toLowerCase() === "false") found.checkServerIdentity = () => undefined;
    } else if (key === "ssl_ciphers") found.ciphers = value;
    else if (key === "ssl_min_version") found.minVersion = versionOf(value);
    else if (nodeTls.has(key)) found[key] = value;
    else if (key !== "ssl") throw unknownOption(key);
  }
  // SNI must not carry an address (RFC 6066).
  if (found.servername === undefined && host !== "" && !/^[\d.]+$|:/.test(host)) found.servername = host;
  return found;
}

function unknownOption(key: string): ImproperlyConfigured {
  const help =
    key === "ssl_ca_path"
      ? "Node reads no folder of certificates; put them into one file and name it in ssl_ca_certs"
      : key.startsWith("ssl_")
        ? `there are ${kombuTls.join(", ")}`
        : "Python's names begin with ssl_, such as ssl_ca_certs";
  return new ImproperlyConfigured(`TLS to Redis has no option ${key}; ${help}`);
}

/** Read above. */
const kombuTls = [
  "ssl_cert_reqs",
  "ssl_ca_certs",
  "ssl_ca_data",
  "ssl_certfile",
  "ssl_keyfile",
  "ssl_password",
  "ssl_check_hostname",
  "ssl_ciphers",
  "ssl_min_version",
];

/** What `tls.connect` takes. */
const nodeTls = new Set(
  `ALPNProtocols allowPartialTrustChain ca cert checkServerIdentity ciphers crl dhparam ecdhCurve enableTrace honorCipherOrder key
   maxVersion minDHSize minVersion passphrase pfx pskCallback rejectUnauthorized secureContext secureOptions secureProtocol servername
   session sessionIdContext sigalgs ticketKeys`.split(/\s+/),
);

function isCertNone(value: unknown): boolean {
  if (value === null || value === 0 || value === false) return true;
  const text = String(value).toLowerCase();
  if (text === "none" || text === "cert_none" || text === "ssl.cert_none") return true;
  if (/^(?:ssl\.)?(?:cert_)?(?:required|optional)$/.test(text) || value === 1 || value === 2) return false;
  throw new ImproperlyConfigured(`ssl_cert_reqs is required, optional or none, not ${JSON.stringify(value)}`);
}

/** Python's `ssl.TLSVersion`: in a URL its number, as redis-py reads it; in settings its name as well. */
const versions = new Map<string, SecureVersion>([
  ...["-2", "minimum_supported", "769", "tlsv1", "tlsv1.0"].map((name) => [name, "TLSv1"] as const),
  ...["770", "tlsv1.1"].map((name) => [name, "TLSv1.1"] as const),
  ...["771", "tlsv1.2"].map((name) => [name, "TLSv1.2"] as const),
  ...["-1", "maximum_supported", "772", "tlsv1.3"].map((name) => [name, "TLSv1.3"] as const),
]);

function versionOf(value: unknown): SecureVersion | undefined {
  if (value === null || value === undefined) return undefined;
  const name = String(value)
    .toLowerCase()
    .replace(/^(?:ssl\.)?(?:tlsversion\.)?/, "")
    .replace(/^tlsv1_/, "tlsv1.");
  const found = versions.get(name);
  if (found !== undefined) return found;
  throw new ImproperlyConfigured(
    `ssl_min_version is TLSv1, TLSv1_1, TLSv1_2 (771) or TLSv1_3 (772), not ${JSON.stringify(String(value))}`,
  );
}

function readPem(key: string, value: unknown): Buffer | undefined {
  if (value === undefined || value === null) return undefined;
  try {
    return readFileSync(String(value));
  } catch (cause) {
    throw new ImproperlyConfigured(`${key}: the file ${JSON.stringify(String(value))} cannot be read`, { cause });
  }
}
