/** `lovage/mognet`: Mognet apps, requests, results, errors. */
export type { MognetNodeStatus } from "../protocol/mognet/control.ts";
export type { MognetDeadline } from "../protocol/mognet/deadline.ts";
export type { MognetRequest } from "../protocol/mognet/request.ts";
export type { MognetResult as ResultRecord } from "../protocol/mognet/result.ts";
export type { MognetState } from "../protocol/mognet/states.ts";
export { PyTimeDelta } from "../protocol/mognet/timedelta.ts";
export type { MognetValue } from "../protocol/mognet/value.ts";
export { type ViaCeleryOptions, type ViaMognetOptions, viaCelery, viaMognet } from "./app/bridge.ts";
export { Mognet, type MognetOptions, type QueueStats, type RunLimits } from "./app/mognet.ts";
export type { StatusOptions } from "./client/mognet/control.ts";
export { type GetOptions, Result, type ResultValue, type WaitOptions } from "./client/mognet/result.ts";
export type { ChildrenOptions, ResultChildren } from "./client/mognet/result-children.ts";
export type { PlainResult, PlainTree, ResultTree, TreeOptions } from "./client/mognet/result-tree.ts";
export type { RevokeOptions } from "./client/mognet/results.ts";
export { ResultLost } from "./result-backends/errors.ts";
export type { MognetConfig, MognetConfigInput } from "./settings/mognet-config.ts";
export {
  isMognetContext,
  type MognetContext,
  type MognetSubmitted,
  type MognetTaskState,
  mognetContext,
  NotWithThisProtocol,
  Pause,
} from "./tasks/mognet-context.ts";
export {
  CouldNotSubmit,
  type InvalidErrorInfo,
  InvalidTaskArguments,
  ResultFailed,
  ResultNotReady,
  ResultValueLost,
  Revoked,
  TooManyRetries,
  UnknownTask,
} from "./tasks/mognet-errors.ts";
export type { MognetMiddleware } from "./tasks/mognet-middleware.ts";
export { type DeadlineInput, Request, type RequestOptions, type RequestParts } from "./tasks/mognet-request.ts";
export { ClassService, type ServiceClass, type ServiceFunction, type ServiceKey } from "./tasks/mognet-services.ts";
export { QueueNotFound } from "./transports/errors.ts";
export { DeadlineExceeded, HandedBack } from "./worker/mognet/reasons.ts";
