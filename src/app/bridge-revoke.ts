/** Celery's `control.revoke(id, terminate=True)`: a broadcast to every worker. wire: celery-wire 5.1; kombu/pidbox.py `_publish`. */
import { utf8Encode } from "../../protocol/bytes.ts";
import { encodeJson } from "../../protocol/json.ts";
import type { Exchange } from "../../protocol/routing.ts";
import type { Celery } from "../app.ts";

const PIDBOX: Exchange = { name: "celery.pidbox", type: "fanout", durable: false };

/** Resolves once the broker has it. Workers that start later have not heard of it. */
export async function revokeCeleryTask({ transport }: Celery, id: string): Promise<void> {
  await transport.connect();
  await transport.declare([], [PIDBOX]);
  const body = {
    method: "revoke",
    arguments: { task_id: id, terminate: true, signal: "SIGTERM" },
    destination: null,
    pattern: null,
    matcher: null,
  };
  await transport.publish(
    {
      body: utf8Encode(encodeJson(body)),
      contentType: "application/json",
      contentEncoding: "utf-8",
      headers: { clock: 1, expires: 0 },
      properties: { deliveryMode: 1, priority: 0 },
    },
    { exchange: PIDBOX.name, routingKey: "" },
    { mandatory: false },
  );
}
