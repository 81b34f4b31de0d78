/** `lovage`: apps, tasks, results, errors. */
export {
  DecodeError,
  EncodeError,
  ImproperlyConfigured,
  InvalidTaskError,
  LovageError,
  ProtocolError,
} from "../protocol/errors.ts";
export { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid, registerJsonType } from "../protocol/values.ts";
export type { AddConsumerOptions, BroadcastOptions, Control, ControlOptions, RevokeOptions } from "./app/control.ts";
export type { Events, ReceiveOptions } from "./app/events.ts";
export type { Answers, Inspect, TaskDescription } from "./app/inspect.ts";
export { type Applied, type BoundTask, type CallArguments, Celery, type CeleryOptions } from "./app.ts";
export { chain } from "./canvas/chain.ts";
export { chord } from "./canvas/chord.ts";
export { Graph } from "./canvas/graph.ts";
export { group } from "./canvas/group.ts";
export { type LooseSignature, signature, signatureFrom } from "./canvas/signature-from.ts";
export { workflowGraph } from "./canvas/workflow-graph.ts";
export { type AnyResult, AsyncResult, type GetOptions } from "./client/async-result.ts";
export { type Finished, GroupResult } from "./client/group-result.ts";
export type { MappedErrorClass } from "./client/remote-errors.ts";
export { type ResultEntry, resultGraph } from "./client/result-tree.ts";
export {
  type Command as ControlCommand,
  type CommandArguments,
  type CommandHandler,
  type ControlCommandOptions,
  controlCommand,
} from "./control/command.ts";
export { CommandError, InvalidBroadcast } from "./control/errors.ts";
export type { Reply } from "./control/mailbox.ts";
export type { ControlState } from "./control/state.ts";
export type { PoolView, RequestView, TaskView, WorkerView } from "./control/worker-view.ts";
export { Camera, type CameraOptions } from "./events/camera.ts";
export { InvalidEvent } from "./events/errors.ts";
export type { ReceivedEvent } from "./events/receiver.ts";
export { State, type StateChange, type StateOptions, type TaskInfo, type WorkerInfo } from "./events/state.ts";
export type { EventStream } from "./events/stream.ts";
export { ChordsNotSupported } from "./result-backends/chord-counter.ts";
export { BackendError, BackendGetMetaError, BackendStoreError, ResultLost } from "./result-backends/errors.ts";
export { type ConsoleLogOptions, consoleLog, type LogLevel } from "./runtime/console-log.ts";
export type { Log } from "./runtime/log.ts";
export type { Settings, SettingsInput } from "./settings/settings.ts";
export type { TaskBehaviour } from "./tasks/behaviour.ts";
export type { ApplyAsyncOptions } from "./tasks/call-options.ts";
export {
  currentTask,
  type RetryOptions,
  type SentTask,
  type TaskContext,
  type TaskDeliveryInfo,
} from "./tasks/context.ts";
export {
  type AnyTask,
  type CallOf,
  type ResultOf,
  type TaskDefinition,
  type TaskOptions,
  type TaskType,
  task,
} from "./tasks/definition.ts";
export {
  ChordError,
  MaxRetriesExceededError,
  NotRegistered,
  RemoteTaskError,
  SoftTimeLimitExceeded,
  TaskArgumentError,
  TaskError,
  TaskRevokedError,
  TaskValidationError,
  TimeLimitExceeded,
  TimeoutError,
  WorkerLostError,
} from "./tasks/errors.ts";
export { Ignore, Reject, Retry } from "./tasks/signals.ts";
export {
  type CloneParts,
  Signature,
  type SignatureOptions,
  type StampingVisitor,
  type StampOptions,
} from "./tasks/signature.ts";
export type { AnySignature } from "./tasks/signature-types.ts";
export {
  ConnectionLost,
  ConnectionRefused,
  PublishError,
  QueueClash,
  QueueNotFound,
  TransportClosed,
  TransportError,
} from "./transports/errors.ts";
