/**
 * How long a worker bears a broker that cannot be reached: by default for ever. wire: celery-behaviour 1.16 item 4;
 * settings `broker_connection_retry`, `broker_connection_retry_on_startup`, `broker_connection_max_retries`.
 */
import type { Settings } from "../settings/settings.ts";
import { ConnectionLost } from "../transports/errors.ts";

export class ConnectionPatience {
  readonly #settings: Settings;
  #everConnected = false;
  #attempts = 0;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  connected(): void {
    this.#everConnected = true;
    this.#attempts = 0;
  }

  /** One attempt to connect has failed. The error with which to give up, or null to go on. */
  failed(error: Error): ConnectionLost | null {
    this.#attempts++;
    const { broker_connection_retry, broker_connection_retry_on_startup, broker_connection_max_retries } =
      this.#settings;
    const retries = this.#everConnected
      ? broker_connection_retry
      : (broker_connection_retry_on_startup ?? broker_connection_retry);
    if (!retries) {
      const setting = this.#everConnected ? "broker_connection_retry" : "broker_connection_retry_on_startup";
      return new ConnectionLost(`the broker cannot be reached, and ${setting} is off: ${error.message}`, {
        cause: error,
      });
    }
    if (broker_connection_max_retries === null || this.#attempts <= broker_connection_max_retries) return null;
    return new ConnectionLost(
      `the broker cannot be reached after ${this.#attempts} attempts (broker_connection_max_retries): ${error.message}`,
      { cause: error },
    );
  }
}
