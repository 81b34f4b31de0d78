/** The public harness: start brokers and peers, wait, watch, capture, and assert that everything is drained. */
export { assertDrained, type DrainOptions, type DrainTarget } from "./assert-drained.ts";
export { type Captured, captureQueue, type QueueCapture } from "./capture-queue.ts";
export { HarnessError, NotDrained, PeerFailed, ProgramNotFound, PythonRaised, WaitTimeout } from "./errors.ts";
export { findProgram } from "./find-program.ts";
export { type NodeWorkerOptions, startNodeWorker } from "./node-worker.ts";
export type { LogWaitOptions } from "./peer-log.ts";
export { type Ended, PeerProcess, type PeerProcessOptions } from "./peer-process.ts";
export { freePort, freePorts } from "./ports.ts";
export {
  PythonCelery,
  type PythonException,
  type PythonRequest,
  type PythonResult,
  type PythonResultTuple,
  type PythonSignature,
  type PythonState,
  type PythonValue,
  type RawMessage,
  type RawPublish,
} from "./python-celery.ts";
export { PythonClient, type PythonClientOptions, startPythonClient } from "./python-client.ts";
export {
  PythonMognetClient,
  type PythonMognetFields,
  type PythonMognetOutcome,
  type PythonMognetRequest,
  type PythonMognetResult,
  type PythonMognetStatus,
  type PythonMognetTree,
  type PythonMognetValue,
  startPythonMognetClient,
} from "./python-mognet-client.ts";
export {
  type PythonMognetOptions,
  type PythonMognetWorker,
  type PythonMognetWorkerOptions,
  startPythonMognetWorker,
} from "./python-mognet-worker.ts";
export { type PythonWorker, type PythonWorkerOptions, startPythonWorker } from "./python-worker.ts";
export { type QueueCounts, type RabbitmqApi, rabbitmqApi, type TempVhost, tempVhost } from "./rabbitmq-api.ts";
export { type RabbitmqServer, type RabbitmqServerOptions, startRabbitmq } from "./rabbitmq-server.ts";
export { type RedisServer, type RedisServerOptions, startRedis } from "./redis-server.ts";
export { testService } from "./services.ts";
export { TcpProxy, type TcpProxyOptions, tcpProxy } from "./tcp-proxy.ts";
export { type TempFolder, tempFolder } from "./temp-folder.ts";
export { endsWithin, pause, type TestSignal, testSignal, type WaitOptions, waitFor, within } from "./wait.ts";
