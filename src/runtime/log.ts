/** The one logger shape that Lovage's rooms know; pino satisfies it, and so does a test's array. */
export interface Log {
  trace(fields: object, message?: string): void;
  debug(fields: object, message?: string): void;
  info(fields: object, message?: string): void;
  warn(fields: object, message?: string): void;
  error(fields: object, message?: string): void;
  fatal(fields: object, message?: string): void;
  isLevelEnabled?(level: string): boolean;
  child?(fields: object): Log;
}

const quiet = () => undefined;

/** Says nothing. */
export const silentLog: Log = {
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
  fatal: quiet,
  isLevelEnabled: () => false,
};
