/** TLS before RabbitMQ, by a proxy with a certificate of its own, and what the broker says unasked. */
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type AmqpTls, createAmqpTransport } from "./amqp.ts";
import { haveRabbit, makeVhost } from "./amqp-rig.contract.ts";
import { declared, text, toQueue, within } from "./transport.contract.ts";

describe.runIf(haveRabbit())("TLS to RabbitMQ", () => {
  let folder = "";
  const file = (name: string) => join(folder, name);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lovage-tls-"));
    const make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
    const names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", file("key.pem"), "-out", file("cert.pem")];
    await execa("openssl", [...make, ...names]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function tlsUrl(scheme: string, host: string): Promise<{ url: string; peers: string[] }> {
    const vhost = await makeVhost();
    ends.push(() => vhost.remove());
    const target = new URL(vhost.url);
    const pem = { cert: await readFile(file("cert.pem")), key: await readFile(file("key.pem")) };
    const peers: string[] = [];
    const server = createServer({ ...pem, ca: pem.cert, requestCert: true, rejectUnauthorized: false }, (client) => {
      peers.push(String(client.getPeerCertificate().subject?.CN ?? "none"));
      const broker = connect(Number(target.port || "5672"), target.hostname);
      client.pipe(broker).pipe(client);
      client.on("error", () => broker.destroy());
      broker.on("error", () => client.destroy());
    });
    server.on("tlsClientError", () => undefined);
    server.listen(0, "localhost");
    await once(server, "listening");
    ends.push(() => new Promise((resolve) => server.close(resolve)));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    return { url: `${scheme}://guest:guest@${host}:${port}/${vhost.name}`, peers };
  }

  function open(url: string, tls?: AmqpTls) {
    const transport = createAmqpTransport({ urls: [url], ...(tls ? { tls } : {}) });
    ends.push(() => transport.close());
    return transport;
  }

  test.each([
    ["amqps with a CA file and a client certificate", "amqps", true],
    ["amqp, where TLS is asked for apart from the URL, with PEM text", "amqp", false],
  ])("%s", async (_, scheme, asFile) => {
    const { url, peers } = await tlsUrl(scheme, "localhost");
    const read = async (name: string) => (asFile ? file(name) : await readFile(file(name), "utf8"));
    const tls = { ca: await read("cert.pem"), cert: await read("cert.pem"), key: await read("key.pem") };
    const transport = open(url, tls);
    await within(transport.connect(), "connect");
    const queue = await declared(transport);
    await transport.publish(text("x"), toQueue(queue));
    expect((await transport.inspectQueue(queue.name))?.messages).toBe(1);
    expect(peers).toEqual(["localhost"]);
  });

  test("a certificate of nobody we know, or of another name, is refused at once", async () => {
    const { url } = await tlsUrl("amqps", "localhost");
    await expect(within(open(url).connect(), "connect")).rejects.toMatchObject({ code: "CONNECTION_REFUSED" });
    const tls = { ca: file("cert.pem"), servername: "elsewhere.example" };
    await expect(within(open(url, tls).connect(), "connect")).rejects.toThrow(
      /no TLS with .*elsewhere.*\(see broker_use_ssl: ca_certs/s,
    );
    await within(open(url, { rejectUnauthorized: false }).connect(), "connect without verification");
  });

  test("a missing certificate file is named", async () => {
    const { url } = await tlsUrl("amqps", "localhost");
    const connecting = open(url, { ca: file("no-such.pem") }).connect();
    await expect(within(connecting, "connect")).rejects.toThrow(/no-such\.pem/);
  });
});
