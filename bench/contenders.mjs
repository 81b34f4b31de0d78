/**
 * Who is measured. A contender is a program that is started once per measurement with one job as JSON and works in one of
 * three modes: `work` (a worker on a queue), `publish` (a client that sends), `call` (a client that sends and awaits).
 */
import { fileURLToPath } from "node:url";
import { CELERY_CONCURRENCY, CONCURRENCY, PREFETCH_MULTIPLIER } from "./plan.mjs";

const peer = (file) => fileURLToPath(new URL(`./peers/${file}`, import.meta.url));

const loopSettings = { concurrency: CONCURRENCY, prefetchMultiplier: PREFETCH_MULTIPLIER };
const loopNote = `one process, ${CONCURRENCY} in flight, prefetch ${CONCURRENCY * PREFETCH_MULTIPLIER}`;

/**
 * `peers`: `{ python, celeryNode, bullmq }`, interpreter and entry files; a peer that is null is left out.
 * `nodeFlags`: by contender name, flags for its Node process.
 */
export function contenders(peers, nodeFlags = {}) {
  const node = (name, file, extra = {}) => ({
    name,
    command: (job) => [
      process.execPath,
      [...(nodeFlags[name] ?? []), peer(file), JSON.stringify({ ...loopSettings, ...extra, ...job })],
    ],
  });
  const python = (name, extra = {}) => ({
    name,
    command: (job) => [
      peers.python,
      [peer("celery_peer.py"), JSON.stringify({ concurrency: CELERY_CONCURRENCY, ...extra, ...job })],
    ],
  });
  const list = [
    {
      ...node("lovage", "lovage.mjs"),
      label: "Lovage",
      note: loopNote,
      brokers: ["amqp", "redis"],
      modes: ["work", "publish", "call"],
    },
    {
      ...node("lovage-default", "lovage.mjs", { concurrency: undefined }),
      label: "Lovage, default concurrency",
      note: "no concurrency asked for: 16 in flight, prefetch 64",
      brokers: ["amqp", "redis"],
      modes: ["work"],
    },
    {
      ...node("bare", "bare.mjs"),
      label: "bare client loop",
      note: `amqplib or ioredis, Celery's commands for each message and nothing else, pipelined; ${loopNote}`,
      brokers: ["amqp", "redis"],
      modes: ["work", "publish", "call"],
    },
    {
      ...node("bare-batched", "bare.mjs", { batched: true }),
      label: "bare loop, batched",
      note: "the same with the fewest commands: one MULTI or one ack for all messages of a tick",
      brokers: ["amqp", "redis"],
      modes: ["work"],
    },
  ];
  if (peers.python !== null) {
    list.push(
      {
        ...python("celery"),
        label: "Celery",
        note: `prefork -c ${CELERY_CONCURRENCY}, prefetch ${4 * CELERY_CONCURRENCY}, without mingle and gossip`,
        brokers: ["amqp", "redis"],
        modes: ["work", "publish", "call"],
      },
      {
        ...python("celery-confirm", { confirm: true }),
        label: "Celery, confirmed",
        note: "apply_async with confirm_publish: each publish waits for the broker",
        brokers: ["amqp"],
        modes: ["publish"],
      },
    );
  }
  if (peers.celeryNode !== null) {
    list.push({
      ...node("celery-node", "celery-node.cjs", { module: peers.celeryNode }),
      label: "celery-node",
      note: "no prefetch limit on AMQP, one blocking pop at a time on Redis, awaits results by polling every 500 ms",
      brokers: ["amqp", "redis"],
      modes: ["work", "publish", "call"],
    });
  }
  if (peers.bullmq !== null) {
    list.push({
      ...node("bullmq", "bullmq.cjs", { module: peers.bullmq }),
      label: "BullMQ",
      note: `its own jobs and results, concurrency ${CONCURRENCY}`,
      brokers: ["redis"],
      modes: ["work", "publish", "call"],
    });
  }
  return list;
}
