/** The root of all errors that Lovage throws, and the family of those that tell of a peer's or a caller's bad data. */

export interface LovageErrorOptions {
  cause?: unknown;
  /** May the same act succeed when tried again? @default false */
  retryable?: boolean;
}

/** Every error of Lovage: a stable `code`, whether a retry can help, and the cause. Messages never hold credentials. */
export class LovageError extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, options: LovageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** The data, not the connection, is at fault. */
export class ProtocolError extends LovageError {}

/** A value of ours has no form on the wire (Kombu: `EncodeError`). */
export class EncodeError extends ProtocolError {
  static readonly python = "kombu.exceptions.EncodeError";
  constructor(message: string, options?: LovageErrorOptions) {
    super("ENCODE", message, options);
  }
}

/**
 * A peer's bytes cannot be read (Kombu: `DecodeError`). The worker acks such a message, as Celery does; one that is only beyond us
 * fails for whoever waits for its id.
 */
export class DecodeError extends ProtocolError {
  static readonly python = "kombu.exceptions.DecodeError";
  /** Nothing may be wrong with the bytes: they are over a limit of ours, or in a form that we lack and a peer may have. */
  readonly beyondUs: boolean;
  constructor(message: string, { beyondUs = false, ...options }: LovageErrorOptions & { beyondUs?: boolean } = {}) {
    super("DECODE", message, options);
    this.beyondUs = beyondUs;
  }
}

/** The content type is not in `accept_content` (Kombu: `ContentDisallowed`). The worker rejects the message. */
export class ContentDisallowed extends ProtocolError {
  static readonly python = "kombu.exceptions.ContentDisallowed";
  readonly contentType: string;
  constructor(contentType: string, options?: LovageErrorOptions) {
    super("CONTENT_DISALLOWED", `Refusing to deserialize untrusted content of type ${contentType}`, options);
    this.contentType = contentType;
  }
}

/** Readable, but not a task that may be run (Celery: `InvalidTaskError`). The worker rejects the message. */
export class InvalidTaskError extends ProtocolError {
  static readonly python: string = "celery.exceptions.InvalidTaskError";
  constructor(message: string, options?: LovageErrorOptions) {
    super("INVALID_TASK", message, options);
  }
}

/** The caller's configuration or arguments cannot be used; nothing was started (Celery: `ImproperlyConfigured`). */
export class ImproperlyConfigured extends LovageError {
  static readonly python: string = "celery.exceptions.ImproperlyConfigured";
  constructor(message: string, options?: LovageErrorOptions) {
    super("IMPROPERLY_CONFIGURED", message, options);
  }
}
