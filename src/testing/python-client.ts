/**
 * A real Celery client as a peer: one long-lived Python process that is driven line by line, so that a test asks real Celery
 * without starting an interpreter for each question.
 */
import { join } from "node:path";
import { DrivenProcess } from "./driven-process.ts";
import { fixturesFolder, pythonProgram } from "./fixture-files.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import type { PeerProcess } from "./peer-process.ts";
import { PythonCelery } from "./python-celery.ts";
import { pythonEnvironment } from "./python-worker.ts";

/** For `startPythonClient()`. */
export interface PythonClientOptions {
  /** An interpreter whose environment has Celery. @default LOVAGE_TEST_PYTHON, else `python3` */
  python?: string;
  broker?: string;
  backend?: string;
  /** Celery settings of its first app, with Celery's own names. */
  settings?: Readonly<Record<string, unknown>>;
  env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until it must answer for the first time. @default 60_000 */
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

/** The process together with its first app. `celery(settings)` opens more apps in the same process. */
export class PythonClient extends PythonCelery implements AsyncDisposable {
  readonly process: PeerProcess;
  readonly #driven: DrivenProcess;

  static async start(options: PythonClientOptions = {}): Promise<PythonClient> {
    knownOptions(options, pythonClientOptions, "startPythonClient()");
    const folder = fixturesFolder();
    const driven = await DrivenProcess.start(pythonProgram(options.python), {
      name: "python-client",
      args: [join(folder, "client.py")],
      cwd: folder,
      env: pythonEnvironment(options, folder),
      timeout: options.timeout ?? 60_000,
    });
    return new PythonClient(driven);
  }

  private constructor(driven: DrivenProcess) {
    super(0, (op, app, fields, timeout) => driven.request(op, { app, ...fields }, timeout));
    this.process = driven.process;
    this.#driven = driven;
  }

  /** Opens another app with settings of its own. */
  async celery(settings: Readonly<Record<string, unknown>>): Promise<PythonCelery> {
    const driven = this.#driven;
    const app = await driven.request("open", { app: 0, settings }, 10_000);
    return new PythonCelery(Number(app), (op, number, fields, timeout) =>
      driven.request(op, { app: number, ...fields }, timeout),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#driven[Symbol.asyncDispose]();
  }
}

/** Starts a Python process with a Celery client and resolves when it answers. */
export function startPythonClient(options: PythonClientOptions = {}): Promise<PythonClient> {
  return PythonClient.start(options);
}
