/**
 * How much is measured: sizes for a full and a quick run, and what every contender is given alike.
 * Slow contenders get fewer tasks, so that each measurement takes about the same time; rates do not depend on it.
 */

/** Tasks in flight and messages taken ahead, for every contender on one event loop. */
export const CONCURRENCY = 100;
export const PREFETCH_MULTIPLIER = 4;
/** Celery's prefork pool: one process a core, its own default of four messages taken ahead for each. */
export const CELERY_CONCURRENCY = 2;
/** Publishes on their way at once, where the client can tell when one is done. */
export const PUBLISH_WINDOW = 500;

export const TASK = "bench.add";
export const ARGS = [2, 3];
export const EXPECTED = 5;

/**
 * `tasks`: messages in the queue for a worker; `publishes`: messages a client sends; `calls`: send and await, one after the
 * other, after `warmUp` that do not count (a process that has just started is not what anybody waits for). A contender's own figure, or its own on one broker, goes before the common one.
 */
export const FULL = {
  rounds: 5,
  publishRounds: 3,
  callRounds: 3,
  tasks: { common: 20_000, celery: 2_000, "celery-node": 10_000, bullmq: 8_000 },
  publishes: {
    common: 20_000,
    celery: 1_500,
    "celery-confirm": 1_000,
    "celery-node": 5_000,
    bullmq: 8_000,
    "celery-node/amqp": 200,
  },
  calls: { common: 400, celery: 200, "lovage-celery": 200, "celery-lovage": 200, "celery-node": 3 },
  warmUp: { common: 500, celery: 50, "celery-lovage": 300, "celery-node": 1 },
};

export const QUICK = {
  rounds: 1,
  publishRounds: 1,
  callRounds: 1,
  tasks: { common: 8_000, celery: 800, "celery-node": 4_000, bullmq: 3_000 },
  publishes: {
    common: 8_000,
    celery: 500,
    "celery-confirm": 500,
    "celery-node": 2_000,
    bullmq: 4_000,
    "celery-node/amqp": 100,
  },
  calls: { common: 150, celery: 100, "lovage-celery": 100, "celery-lovage": 100, "celery-node": 2 },
  warmUp: { common: 300, celery: 30, "celery-lovage": 100, "celery-node": 1 },
};

export function sizeOf(sizes, name, broker) {
  return sizes[`${name}/${broker}`] ?? sizes[name] ?? sizes.common;
}
