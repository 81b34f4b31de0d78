/** Puts a case without a client into Redis and on the queue, below every library of ours. */
import { connect } from "amqplib";
import type { RawShape } from "./case.ts";
import type { Site } from "./fleet.ts";

/** Resolves when the broker has the message. `others` are the ids that the case names. */
export async function publishRaw(
  site: Site,
  raw: RawShape,
  id: string,
  others: ReadonlyMap<string, string>,
): Promise<void> {
  const named = (value: unknown): unknown => {
    if (value === undefined) return undefined;
    let text = JSON.stringify(value).replaceAll("$ID", id).replaceAll("$CAPITALS", id.toUpperCase());
    for (const [name, other] of others) text = text.replaceAll(name, other);
    return JSON.parse(text);
  };
  const store = (key: string, fields: object) =>
    site.redis.hset(
      `${site.name}.mognet.result.${key}`,
      Object.fromEntries(Object.entries(fields).map(([field, value]) => [field, JSON.stringify(named(value))])),
    );
  const usual = (of: string) => ({ ...fresh, id: of, name: "fixture.echo", request_kwargs_repr: "'hello'" });
  if (raw.onlyHash !== undefined) await store(id, raw.onlyHash);
  else if (raw.hash !== null) await store(id, { ...usual(id), ...raw.hash });
  for (const [name, fields] of Object.entries(raw.others ?? {})) {
    const other = others.get(name) ?? "";
    await store(other, { ...usual(other), ...fields });
  }
  const payload = {
    ...{ id, name: "fixture.echo", args: ["hello"], kwargs: {}, stack: [], metadata: {} },
    ...{ deadline: null, queue_name: null, kwargs_repr: "'hello'", priority: 5 },
    ...raw.payload,
  };
  const envelope = { id, kind: "Request", payload, priority: 5, ...raw.envelope };
  const body = raw.body?.replaceAll("$ID", id) ?? JSON.stringify(named(envelope));
  const [exchange, key] = raw.control
    ? [`${site.name}.mognet.control`, ""]
    : [`${site.name}.mognet.direct`, `${site.name}.tasks`];
  const connection = await connect(site.broker);
  try {
    const channel = await connection.createConfirmChannel();
    channel.publish(exchange, key, Buffer.from(body), {
      contentType: "application/json",
      contentEncoding: "utf-8",
      priority: 5,
      messageId: id,
      ...raw.properties,
    });
    await channel.waitForConfirms();
  } finally {
    await connection.close();
  }
}

const fresh = {
  state: "PENDING",
  number_of_starts: 0,
  number_of_stops: 0,
  parent_id: null,
  created: "2024-01-01T00:00:00.000001Z",
  started: null,
  finished: null,
  node_id: null,
};
