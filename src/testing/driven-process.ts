/** A program that is driven line by line: one request a line on its stdin, one answer a line on its stdout, each with its number. */
import { PeerFailed, PythonRaised, WaitTimeout } from "./errors.ts";
import { PeerProcess } from "./peer-process.ts";
import { endsWithin, within } from "./wait.ts";

export interface DrivenProcessOptions {
  /** For messages. */
  name: string;
  args: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until it must answer for the first time, which it does unasked, as number 0. */
  timeout: number;
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

export class DrivenProcess implements AsyncDisposable {
  readonly process: PeerProcess;
  readonly #name: string;
  readonly #lines: AnswerLines;

  static async start(program: string, options: DrivenProcessOptions): Promise<DrivenProcess> {
    const lines = new AnswerLines();
    const { name, args, cwd, env, timeout } = options;
    const process = await PeerProcess.start(program, {
      name,
      args,
      cwd,
      env,
      stdin: true,
      onStdout: (text) => lines.append(text),
    });
    const hello = lines.expect(0);
    void process.ended.then(() => lines.fail(new PeerFailed(`${name} has ended:\n${process.log()}`)));
    try {
      await within(hello, timeout, `${name} to answer`);
    } catch (error) {
      await process.stop({ signal: "SIGKILL" });
      throw error;
    }
    return new DrivenProcess(process, name, lines);
  }

  private constructor(process: PeerProcess, name: string, lines: AnswerLines) {
    this.process = process;
    this.#name = name;
    this.#lines = lines;
  }

  /** Sends one request and resolves with its answer. `timeout` in milliseconds. */
  async request(op: string, fields: object, timeout: number): Promise<unknown> {
    this.process.assertAlive();
    const id = this.#lines.nextId();
    const answer = this.#lines.expect(id);
    this.process.stdin?.write(`${JSON.stringify({ id, op, ...fields })}\n`);
    try {
      return await within(answer, timeout, `${this.#name} to ${op}`);
    } catch (error) {
      if (error instanceof WaitTimeout) throw await this.#late(error);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.stdin?.end();
    await this.process.stop({ grace: 1_000 });
  }

  /** Has Python say where it stands, which is what one wants to know of a request that does not end. */
  async #late(error: WaitTimeout): Promise<WaitTimeout> {
    const mark = this.process.mark();
    this.process.kill("SIGUSR2");
    await endsWithin(
      this.process.waitForLog(/<module>/, { after: mark, timeout: 1_000 }).catch(() => undefined),
      1_000,
    );
    return new WaitTimeout(`${error.message}; Python stands at:\n${this.process.log(mark)}`, { cause: error });
  }
}

/** Splits the answers into lines and gives each to the request that waits for it. */
class AnswerLines {
  readonly #waiting = new Map<number, Waiting>();
  #rest = "";
  #last = 0;
  #failed: Error | undefined;

  nextId(): number {
    this.#last++;
    return this.#last;
  }

  expect(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#failed) reject(this.#failed);
      else this.#waiting.set(id, { resolve, reject });
    });
  }

  append(text: string): void {
    this.#rest += text;
    for (let end = this.#rest.indexOf("\n"); end >= 0; end = this.#rest.indexOf("\n")) {
      this.#answer(this.#rest.slice(0, end));
      this.#rest = this.#rest.slice(end + 1);
    }
  }

  fail(error: Error): void {
    this.#failed = error;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }

  #answer(line: string): void {
    const { id, ok, error } = JSON.parse(line) as {
      id: number;
      ok?: unknown;
      error?: ConstructorParameters<typeof PythonRaised>[0];
    };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new PythonRaised(error));
    else waiting?.resolve(ok);
  }
}
