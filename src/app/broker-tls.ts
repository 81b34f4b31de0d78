/** `broker_use_ssl` for AMQP: Python's names (`ca_certs`, `certfile`, `keyfile`, `cert_reqs`, `server_hostname`) and Node's. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { didYouMean } from "../settings/suggest.ts";
import type { AmqpTls } from "../transports/amqp.ts";

const NAMES: Record<string, keyof AmqpTls> = {
  ca: "ca",
  ca_certs: "ca",
  cert: "cert",
  certfile: "cert",
  key: "key",
  keyfile: "key",
  passphrase: "passphrase",
  servername: "servername",
  server_hostname: "servername",
  rejectUnauthorized: "rejectUnauthorized",
  cert_reqs: "rejectUnauthorized",
};

/** Throws `ImproperlyConfigured` for a name or value that means nothing here. */
export function amqpTls(value: true | Readonly<Record<string, unknown>>): AmqpTls {
  const tls: AmqpTls = {};
  if (value === true) return tls;
  for (const [name, given] of Object.entries(value)) {
    const target = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
    if (target === undefined) {
      throw new ImproperlyConfigured(`broker_use_ssl has no option ${name}${didYouMean(name, Object.keys(NAMES))}`);
    }
    if (given === null || given === undefined) continue;
    if (target === "rejectUnauthorized") tls.rejectUnauthorized = verifies(given);
    else if (typeof given === "string") tls[target] = given;
    else throw new ImproperlyConfigured(`broker_use_ssl.${name} is a text: PEM or the path of a PEM file`);
  }
  return tls;
}

/** Python's `ssl.CERT_NONE` is 0; in a JSON file it is also written as its name. */
function verifies(given: unknown): boolean {
  if (typeof given === "boolean") return given;
  if (given === 0 || (typeof given === "string" && /^(cert_)?none$/i.test(given))) return false;
  if (given === 1 || given === 2 || (typeof given === "string" && /^(cert_)?(optional|required)$/i.test(given)))
    return true;
  throw new ImproperlyConfigured("broker_use_ssl.cert_reqs is CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED");
}
