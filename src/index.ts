/** `lovage`: apps, tasks, results, errors. */
export type { Stamps } from "../protocol/celery/canvas/stamp.ts";
export type { CeleryEvent, EventFields } from "../protocol/celery/events.ts";
export type { RemoteException } from "../protocol/celery/exceptions.ts";
export type { ResultMeta } from "../protocol/celery/result-meta.ts";
export type { ResultTuple } from "../protocol/celery/result-tuple.ts";
export type { WireSignature } from "../protocol/celery/signature.ts";
export {
  ContentDisallowed,
  DecodeError,
  EncodeError,
  ImproperlyConfigured,
  InvalidTaskError,
  LovageError,
  type LovageErrorOptions,
  ProtocolError,
} from "../protocol/errors.ts";
export type { LamportClock } from "../protocol/kombu/lamport-clock.ts";
export type { Address, Headers, Message, MessageProperties } from "../protocol/message.ts";
export type { PythonClock, PythonDate } from "../protocol/python-isoformat.ts";
export type { Binding, Exchange, ExchangeType, Queue } from "../protocol/routing.ts";
export {
  type JsonType,
  PyDate,
  PyDateTime,
  PyDecimal,
  PyFloat,
  PyTime,
  PyUuid,
  registerJsonType,
} from "../protocol/values.ts";
export type { AddConsumerOptions, BroadcastOptions, Control, ControlOptions, RevokeOptions } from "./app/control.ts";
export type { Events, ListenOptions, ReceiveOptions } from "./app/events.ts";
export type { Answers, Inspect, TaskDescription } from "./app/inspect.ts";
export { type Applied, type BoundTask, Celery, type CeleryOptions } from "./app.ts";
export { chain } from "./canvas/chain.ts";
export { chord, type Header as ChordHeader } from "./canvas/chord.ts";
export { type EdgeKind, Graph, type NodeKind } from "./canvas/graph.ts";
export { group } from "./canvas/group.ts";
export { type LooseSignature, signature, signatureFrom } from "./canvas/signature-from.ts";
export { workflowGraph } from "./canvas/workflow-graph.ts";
export { type AnyResult, AsyncResult, type GetOptions } from "./client/async-result.ts";
export { type Finished, GroupResult } from "./client/group-result.ts";
export type { MappedErrorClass } from "./client/remote-errors.ts";
export { type ResultEntry, resultGraph } from "./client/result-tree.ts";
export type { RevokeResultOptions } from "./client/results.ts";
export {
  type Command as ControlCommand,
  type CommandArguments,
  type CommandHandler,
  type CommandInfo,
  type CommandLine,
  type CommandRegistry,
  type ControlCommandOptions,
  controlCommand,
} from "./control/command.ts";
export { CommandError, InvalidBroadcast } from "./control/errors.ts";
export type { Reply } from "./control/mailbox.ts";
export type { ControlState, Elections, EventsSwitch } from "./control/state.ts";
export type {
  AutoscalerView,
  LimitsView,
  PoolView,
  QueuesView,
  RequestsView,
  RequestView,
  RevokesView,
  TaskStage,
  TaskView,
  WorkerView,
} from "./control/worker-view.ts";
export { Camera, type CameraOptions } from "./events/camera.ts";
export { InvalidEvent } from "./events/errors.ts";
export type { ReceivedEvent } from "./events/receiver.ts";
export { State, type StateChange, type StateOptions } from "./events/state.ts";
export type { EventStream, StreamOptions } from "./events/stream.ts";
export type { TaskInfo } from "./events/task-info.ts";
export type { WorkerInfo } from "./events/worker-info.ts";
export { ChordsNotSupported } from "./result-backends/chord-counter.ts";
export {
  BackendError,
  BackendGetMetaError,
  BackendStoreError,
  BackendUnavailable,
  ResultLost,
} from "./result-backends/errors.ts";
export { type ConsoleLogOptions, consoleLog, type LogLevel } from "./runtime/console-log.ts";
export type { Log } from "./runtime/log.ts";
export type { ExchangeSpec, QueueSpec } from "./settings/queues-setting.ts";
export type { RetryPolicy, RetryPolicyInput } from "./settings/retry-policy-setting.ts";
export type { Settings, SettingsInput } from "./settings/settings.ts";
export type { SettingName } from "./settings/table.ts";
export type { ErrorClass, TaskBehaviour } from "./tasks/behaviour.ts";
export type { ApplyAsyncOptions, Instant } from "./tasks/call-options.ts";
export {
  type ContextSend,
  type ContextSendTask,
  currentTask,
  type RetryOptions,
  type SentTask,
  type SignatureLike,
  type TaskContext,
  type TaskDeliveryInfo,
} from "./tasks/context.ts";
export {
  type AnyTask,
  type CallArguments,
  type CallOf,
  type HandlerStyle,
  type ParamSchemas,
  type ResultOf,
  type SignatureParts,
  type TaskDefinition,
  type TaskHandler,
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
export { Ignore, Reject, Retry, type RetryOverrides, type RetryTime, TaskSignal } from "./tasks/signals.ts";
export {
  type CloneParts,
  Signature,
  type SignatureOptions,
  type StampingVisitor,
  type StampOptions,
} from "./tasks/signature.ts";
export type { AnySignature, Shape } from "./tasks/signature-types.ts";
export type { AnySchema, SchemaIssue, StandardSchema } from "./tasks/standard-schema.ts";
export {
  ChannelClosed,
  ConnectionLost,
  ConnectionRefused,
  MessageStateError,
  PublishError,
  QueueClash,
  QueueNotFound,
  TransportClosed,
  TransportError,
} from "./transports/errors.ts";
export type {
  ConsumeOptions,
  Consumer,
  Delivery,
  DeliveryInfo,
  PublishFailure,
  ServerInfo,
  Transport,
  TransportCapabilities,
  TransportEvents,
} from "./transports/transport.ts";
