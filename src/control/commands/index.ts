/** Every command that Celery's workers answer. */
import type { Command } from "../command.ts";
import * as about from "./about.ts";
import * as events from "./events.ts";
import * as limits from "./limits.ts";
import * as pool from "./pool.ts";
import * as queues from "./queues.ts";
import * as revoke from "./revoke.ts";
import * as tasks from "./tasks.ts";

export const celeryCommands: readonly Command[] = [
  about.ping,
  about.hello,
  about.revoked,
  about.stats,
  about.conf,
  about.report,
  about.memsample,
  about.memdump,
  about.objgraph,
  about.shutdown,
  events.clock,
  events.enableEvents,
  events.disableEvents,
  events.heartbeat,
  events.election,
  limits.rateLimit,
  limits.timeLimit,
  pool.poolGrow,
  pool.poolShrink,
  pool.poolRestart,
  pool.autoscale,
  queues.activeQueues,
  queues.addConsumer,
  queues.cancelConsumer,
  revoke.revoke,
  revoke.terminate,
  revoke.revokeByStampedHeaders,
  tasks.active,
  tasks.reserved,
  tasks.scheduled,
  tasks.queryTask,
  tasks.registered,
];
