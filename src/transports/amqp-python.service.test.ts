/** The AMQP transport and Kombu understand each other's messages: every type that a header can have, and every property. */
import { Buffer } from "node:buffer";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PyDateTime, PyDecimal, PyFloat } from "../../protocol/values.ts";
import { createAmqpTransport } from "./amqp.ts";
import { haveRabbit, makeVhost, type Vhost } from "./amqp-rig.contract.ts";
import { consuming, declared, queueOf, text, toQueue, unique } from "./transport.contract.ts";
import type { Transport } from "./transport.ts";

const PYTHON = process.env.LOVAGE_TEST_PYTHON;

/** Publishes one message of every type to the queue named. */
const PUBLISH = `
import sys, kombu, datetime, decimal
url, name = sys.argv[1:]
with kombu.Connection(url) as connection:
    queue = kombu.Queue(name, kombu.Exchange(name), name, max_priority=9, expires=600)
    headers = {
        'none': None, 'yes': True, 'no': False, 'zero': 0, 'i31': 2**31 - 1, 'i32': 2**31, 'min': -2**31, 'i53': 2**53 + 1,
        'i63': 2**63 - 1, 'neg63': -2**63, 'half': 0.5, 'one': 1.0, 'text': 'n\\u00e4me \\U0001f600', 'empty': '', 'raw': b'\\xff\\x00',
        'ascii': b'abc', 'when': datetime.datetime(2023, 11, 14, 22, 13, 20), 'price': decimal.Decimal('-1.25'),
        'list': [None, 30, [1, 'x']], 'dict': {'a': {'b': None}}, 'timelimit': [None, 1.5], 'none_list': [],
    }
    kombu.Producer(connection.channel()).publish(
        b'\\x00\\xffbody', exchange='', routing_key=name, declare=[queue], headers=headers, retry=False,
        content_type='application/data', content_encoding='binary', correlation_id='c-\\u00e9', reply_to='r', priority=5,
        expiration=600, message_id='m', timestamp=1700000000, type='t', app_id='a', user_id='guest', delivery_mode=1)
`;

/** Prints what it receives from the queue named, as Python sees it. */
const RECEIVE = `
import sys, kombu
url, name = sys.argv[1:]
with kombu.Connection(url) as connection:
    channel = connection.channel()
    message = kombu.Queue(name, channel=channel).get()
    for key, value in message.headers.items():
        print(key, '=', type(value).__name__, repr(value))
    properties = {k: v for k, v in message.properties.items() if k != 'application_headers'}
    print('properties', sorted(properties.items()))
    print('body', repr(message.body), message.content_type, message.content_encoding)
    message.ack()
`;

describe.runIf(haveRabbit() && PYTHON !== undefined)("the AMQP transport and Kombu", () => {
  let vhost: Vhost;
  let transport: Transport;
  beforeEach(async () => {
    vhost = await makeVhost();
    transport = createAmqpTransport({ urls: [vhost.url] });
    await transport.connect();
  });
  afterEach(async () => {
    await transport.close();
    await vhost.remove();
  });

  async function python(script: string, queue: string): Promise<string> {
    const { stdout } = await execa(PYTHON ?? "python3", ["-c", script, vhost.url, queue]);
    return stdout;
  }

  test("what Kombu sends is read, and its declaration is ours", async () => {
    const name = unique("kombu");
    await python(PUBLISH, name);
    await transport.declare([{ ...queueOf({ name }), arguments: { "x-max-priority": 9, "x-expires": 600_000 } }]);
    const [got] = await (await consuming(transport, [name])).waitFor(1);
    expect(got?.message).toEqual({
      body: Buffer.from("\0\u00ffbody", "latin1"),
      contentType: "application/data",
      contentEncoding: "binary",
      properties: {
        correlationId: "c-é",
        replyTo: "r",
        priority: 5,
        expiration: "600000",
        messageId: "m",
        timestamp: 1_700_000_000,
        type: "t",
        appId: "a",
        userId: "guest",
        deliveryMode: 1,
      },
      headers: {
        none: null,
        yes: true,
        no: false,
        zero: 0,
        i31: 2 ** 31 - 1,
        i32: 2 ** 31,
        min: -(2 ** 31),
        i53: 2n ** 53n + 1n,
        i63: 2n ** 63n - 1n,
        neg63: -(2n ** 63n),
        half: 0.5,
        one: 1,
        text: "näme 😀",
        empty: "",
        raw: Uint8Array.of(0xff, 0),
        ascii: "abc",
        when: new PyDateTime(1_700_000_000_000, { offsetMinutes: null }),
        price: new PyDecimal("-1.25"),
        list: [null, 30, [1, "x"]],
        dict: { a: { b: null } },
        timelimit: [null, 1.5],
        none_list: [],
      },
    });
    got?.ack();
    await transport.flush();
  });

  test("what we send is to Kombu what it would have sent itself", async () => {
    const queue = await declared(transport);
    const headers = {
      none: null,
      yes: true,
      zero: 0,
      retries: 200,
      short: 40_000,
      i32: 2 ** 31,
      min: -(2 ** 31),
      big: 2n ** 63n - 1n,
      one: new PyFloat(1),
      half: 0.5,
      text: "näme 😀",
      raw: Uint8Array.of(0xff, 0),
      when: new Date(1_700_000_000_000),
      price: new PyDecimal("-1.25"),
      timelimit: [null, 30],
      dict: { a: { b: [] } },
    };
    const properties = {
      ...{ correlationId: "c-é", replyTo: "r", priority: 5, expiration: "600000", messageId: "m", deliveryMode: 2 },
      ...{ timestamp: 1_700_000_000, type: "t", appId: "a", extra: { origin: "dropped" } },
    };
    await transport.publish({ ...text("héllo"), headers, properties }, toQueue(queue));
    expect((await python(RECEIVE, queue.name)).split("\n")).toEqual([
      "none = NoneType None",
      "yes = bool True",
      "zero = int 0",
      "retries = int 200",
      "short = int 40000",
      "i32 = int 2147483648",
      "min = int -2147483648",
      "big = int 9223372036854775807",
      "one = float 1.0",
      "half = float 0.5",
      "text = str 'näme 😀'",
      "raw = bytes b'\\xff\\x00'",
      "when = datetime datetime.datetime(2023, 11, 14, 22, 13, 20)",
      "price = Decimal Decimal('-1.25')",
      "timelimit = list [None, 30]",
      "dict = dict {'a': {'b': []}}",
      "properties [('app_id', 'a'), ('content_encoding', 'utf-8'), ('content_type', 'text/plain'), " +
        "('correlation_id', 'c-é'), ('delivery_mode', 2), ('expiration', '600000'), ('message_id', 'm'), " +
        "('priority', 5), ('reply_to', 'r'), ('timestamp', 1700000000), ('type', 't')]",
      "body 'héllo' text/plain utf-8",
    ]);
  });
});
