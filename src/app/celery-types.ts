/** The types of `Celery`'s calls: its options, what a call takes and what comes of it. */
import type { AsyncResult } from "../client/async-result.ts";
import type { GroupResult } from "../client/group-result.ts";
import type { MappedErrorClass } from "../client/remote-errors.ts";
import type { Command } from "../control/command.ts";
import type { Log } from "../runtime/log.ts";
import type { SettingsInput } from "../settings/settings.ts";
import type { AnyTask, CallArguments } from "../tasks/definition.ts";
import type { ShapeOf, SignatureResult } from "../tasks/signature-types.ts";

/** What an app is made of; all of it may be left out. A mistake in it is an `ImproperlyConfigured`. */
export interface CeleryOptions {
  /** What this app sends by definition and, those with a handler, what its workers run. */
  tasks?: readonly AnyTask[];
  /** Short for the setting `broker_url`. */
  broker?: string | readonly string[];
  /** Short for the setting `result_backend`. */
  backend?: string;
  /** Celery's settings by their own lower-case names. */
  settings?: SettingsInput;
  /** Path of a JSON file of settings that Python can load too; code and environment win over it. */
  settingsFile?: string;
  /** Error classes that stand for Python's (`static python = "module.Type"`), thrown by `get()` in place of `RemoteTaskError`. */
  errors?: Iterable<MappedErrorClass>;
  /** Control commands that workers of this app answer besides Celery's, made with `controlCommand()`. */
  controlCommands?: readonly Command[];
  /** @default standard error: readable on a terminal, JSON lines otherwise, from level `LOVAGE_LOG_LEVEL` or `info` */
  log?: Log;
  /** @default process.env */
  env?: NodeJS.ProcessEnv;
}

/** The result of a signature: that of a task, or of a group where it ends in one. */
export type Applied<S> =
  ShapeOf<S> extends infer Of
    ? Of extends "task"
      ? AsyncResult<SignatureResult<S>>
      : SignatureResult<S> extends infer Values extends readonly unknown[]
        ? GroupResult<Values>
        : GroupResult
    : never;

/** A task together with its app, for calls that read like Celery's. */
export interface BoundTask<Call, Result> {
  readonly name: string;
  delay(...args: Call extends readonly unknown[] ? Call : [args?: Call]): Promise<AsyncResult<Result>>;
  applyAsync(...rest: CallArguments<Call>): Promise<AsyncResult<Result>>;
}
