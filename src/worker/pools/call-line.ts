/** Calls of a body to its worker that are under way: the child's side. */
import type { Cancellation } from "../../runtime/cancellation.ts";
import type { Answer, Call, FromChild, PackedError } from "./messages.ts";

interface Waiting {
  resolve: (json: string) => void;
  reject: (error: unknown) => void;
  note: ((json: string) => void) | null;
}

export interface CallLimits {
  /** Ends the wait for the answer; the worker is not told. */
  readonly signal?: Cancellation | undefined;
  /** Told what the worker says before it answers. */
  readonly onNote?: ((json: string) => void) | undefined;
}

/** The call has failed where it was carried out. */
export class CallFailed extends Error {
  readonly packed: PackedError;
  constructor(packed: PackedError) {
    super(packed.text);
    this.packed = packed;
  }
}

export class CallLine {
  readonly #post: (message: FromChild) => void;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;

  constructor(post: (message: FromChild) => void) {
    this.#post = post;
  }

  /** Resolves with the answer as JSON. Rejects with `CallFailed`, or with the signal's reason. */
  call(job: number, method: Call["method"], json: string, { signal, onNote }: CallLimits = {}): Promise<string> {
    const call = ++this.#calls;
    return new Promise((resolve, reject) => {
      const listener = {
        handleEvent: () => {
          forget();
          reject(signal?.reason);
        },
      };
      const forget = (): void => {
        this.#waiting.delete(call);
        signal?.removeEventListener("abort", listener);
      };
      if (signal?.aborted) return reject(signal.reason);
      signal?.addEventListener("abort", listener, { once: true });
      this.#waiting.set(call, {
        resolve: (answer) => {
          forget();
          resolve(answer);
        },
        reject: (error) => {
          forget();
          reject(error);
        },
        note: onNote ?? null,
      });
      this.#post({ type: "call", job, call, method, json });
    });
  }

  onAnswer(call: number, answer: Answer): void {
    const waiting = this.#waiting.get(call);
    if (answer.ok) waiting?.resolve(answer.json);
    else waiting?.reject(new CallFailed(answer.error));
  }

  onNote(call: number, json: string): void {
    this.#waiting.get(call)?.note?.(json);
  }
}
