/** The public harness: start brokers and peers, wait, watch, capture, and assert that everything is drained. */
export * from "./errors.ts";
export { findProgram } from "./find-program.ts";
export type { LogWaitOptions } from "./peer-log.ts";
export { type Ended, PeerProcess, type PeerProcessOptions } from "./peer-process.ts";
export { freePort, freePorts } from "./ports.ts";
export { type QueueCounts, type RabbitmqApi, rabbitmqApi, type TempVhost, tempVhost } from "./rabbitmq-api.ts";
export { type RabbitmqServer, type RabbitmqServerOptions, startRabbitmq } from "./rabbitmq-server.ts";
export { type RedisServer, type RedisServerOptions, startRedis } from "./redis-server.ts";
export { type TempFolder, tempFolder } from "./temp-folder.ts";
export { endsWithin, pause, type TestSignal, testSignal, type WaitOptions, waitFor, within } from "./wait.ts";
