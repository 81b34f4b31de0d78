/**
 * A real Celery client as a peer: one long-lived Python process that is driven line by line, so that a test asks real Celery
 * without starting an interpreter for each question.
 */
import { join } from "node:path";
import { PeerFailed, PythonRaised, WaitTimeout } from "./errors.ts";
import { fixturesFolder, pythonProgram } from "./fixture-files.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { PeerProcess } from "./peer-process.ts";
import { PythonCelery } from "./python-celery.ts";
import { pythonEnvironment } from "./python-worker.ts";
import { endsWithin, within } from "./wait.ts";

export interface PythonClientOptions {
  /** An interpreter whose environment has Celery. @default LOVAGE_TEST_PYTHON, else `python3` */
  python?: string;
  broker?: string;
  backend?: string;
  /** Celery settings of its first app, with Celery's own names. */
  settings?: Readonly<Record<string, unknown>>;
  env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until it must answer for the first time. @default 30_000 */
  timeout?: number;
}

const pythonClientOptions: NamesOf<PythonClientOptions> = {
  python: true,
  broker: true,
  backend: true,
  settings: true,
  env: true,
  timeout: true,
};

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** The process together with its first app. `celery(settings)` opens more apps in the same process. */
export class PythonClient extends PythonCelery implements AsyncDisposable {
  readonly process: PeerProcess;
  readonly #lines: AnswerLines;

  static async start(options: PythonClientOptions = {}): Promise<PythonClient> {
    knownOptions(options, pythonClientOptions, "startPythonClient()");
    const folder = fixturesFolder();
    const lines = new AnswerLines();
    const process = await PeerProcess.start(pythonProgram(options.python), {
      name: "python-client",
      args: [join(folder, "client.py")],
      cwd: folder,
      env: pythonEnvironment(options, folder),
      stdin: true,
      onStdout: (text) => lines.append(text),
    });
    const hello = lines.expect(0);
    void process.ended.then(() => lines.fail(new PeerFailed(`the Python client has ended:\n${process.log()}`)));
    try {
      await within(hello, options.timeout ?? 30_000, "the Python client to answer");
    } catch (error) {
      await process.stop({ signal: "SIGKILL" });
      throw error;
    }
    return new PythonClient(process, lines);
  }

  private constructor(process: PeerProcess, lines: AnswerLines) {
    super(0, (op, app, fields, timeout) => this.#request(op, app, fields, timeout));
    this.process = process;
    this.#lines = lines;
  }

  /** Opens another app with settings of its own. */
  async celery(settings: Readonly<Record<string, unknown>>): Promise<PythonCelery> {
    const app = await this.#request("open", 0, { settings }, 10_000);
    return new PythonCelery(Number(app), (op, number, fields, timeout) => this.#request(op, number, fields, timeout));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.stdin?.end();
    await this.process.stop({ grace: 1_000 });
  }

  async #request(op: string, app: number, fields: object, timeout: number): Promise<unknown> {
    this.process.assertAlive();
    const id = this.#lines.nextId();
    const answer = this.#lines.expect(id);
    this.process.stdin?.write(`${JSON.stringify({ id, op, app, ...fields })}\n`);
    try {
      return await within(answer, timeout, `the Python client to ${op}`);
    } catch (error) {
      if (error instanceof WaitTimeout) throw await this.#late(error);
      throw error;
    }
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

/** Starts a Python process with a Celery client and resolves when it answers. */
export function startPythonClient(options: PythonClientOptions = {}): Promise<PythonClient> {
  return PythonClient.start(options);
}
