/**
 * What the Node contenders share: the job they were given, what they say, and the two loops of a client.
 * Job: `{ mode, broker, transport, backend, queue, task, args, expected, count, warmUp, window, concurrency, prefetchMultiplier }`.
 */
import { createInterface } from "node:readline";

export const job = JSON.parse(process.argv[2] ?? "{}");

export function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Resolves at the next word on standard input. */
export function heard() {
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin });
    lines.once("line", (line) => {
      lines.close();
      resolve(line);
    });
  });
}

/** Runs until it is told to end; SIGTERM must reach `process.exit`, or a profile is not written. */
export function endOnSignal(close = () => undefined) {
  process.once("SIGTERM", async () => {
    await close();
    process.exit(0);
  });
}

/** Sends `count` times with at most `window` on their way; `send` returns a promise. */
function keepSending(count, window, send) {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let done = 0;
    const onDone = () => {
      done++;
      if (done === count) resolve();
      else more();
    };
    const more = () => {
      while (sent < count && sent - done < window) {
        sent++;
        send().then(onDone, reject);
      }
    };
    more();
  });
}

/** Mode `publish`: says when it starts and when its client knows that all is sent. */
export async function publishLoop(send) {
  endOnSignal();
  await send();
  say({ ready: true });
  await heard();
  say({ started: now() });
  await keepSending(job.count, job.window, send);
  say({ confirmed: now() });
}

/** Mode `call`: one after the other, milliseconds each. */
export async function callLoop(call) {
  endOnSignal();
  const samples = [];
  for (let at = -job.warmUp; at < job.count; at++) {
    const from = performance.now();
    const value = await call();
    const took = performance.now() - from;
    if (value !== job.expected) {
      process.stderr.write(`expected ${job.expected} and got ${value}\n`);
      process.exit(1);
    }
    if (at >= 0) samples.push(took);
    else if (at === -1) say({ ready: true });
  }
  say({ samples });
}

/** Milliseconds since the epoch, finer than a clock tick. */
export function now() {
  return performance.timeOrigin + performance.now();
}
