/** A broker connection for a command: it answers within its time, or the command ends and says why. */
import type { Celery } from "../app.ts";
import { ConnectionLost } from "../transports/errors.ts";
import type { Transport } from "../transports/transport.ts";

/** Seconds that a command gives a broker to answer. */
export const ANSWER_S = 10;

/**
 * Connects, runs `act`, closes. Rejects with `ConnectionLost`, which tells how the last attempt failed, when there is no
 * connection within `timeoutMs`.
 */
export async function withBroker<T>(
  app: Celery,
  timeoutMs: number,
  act: (transport: Transport) => Promise<T>,
): Promise<T> {
  let last: Error | null = null;
  const transport = app.consumerTransport({
    onRetry: (error) => {
      last = error;
    },
  });
  try {
    const deadline = AbortSignal.timeout(timeoutMs);
    try {
      await transport.connect(deadline);
    } catch (error) {
      if (!deadline.aborted) throw error;
      throw last ?? new ConnectionLost(`the broker did not answer within ${timeoutMs / 1000} s`, { cause: error });
    }
    return await act(transport);
  } finally {
    await transport.close();
  }
}

/** The promise, or `ConnectionLost` when it takes longer than `timeoutMs`. */
export async function inTime<T>(promise: Promise<T>, timeoutMs: number, whose: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new ConnectionLost(`${whose} did not answer within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
