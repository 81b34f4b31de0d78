/** The four who ask a fleet: Celery's client and command line, and ours. */
import { readFileSync } from "node:fs";
import { runCommandLine } from "../../src/cli/commands.ts";
import type { Fleet } from "./fleet.ts";

/** What Python read of one node: the answer, and of what types it is. */
export interface Heard {
  readonly value: unknown;
  readonly kind: unknown;
}

/** By node name. */
export type Answers<T> = Readonly<Record<string, T>>;

/** How a command line ended. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Panel {
  readonly known: Readonly<Record<string, object>>;
  readonly answered: readonly string[];
}

const asking = readFileSync(new URL("fixtures/asking.py", import.meta.url), "utf8");

/** Long enough for a loaded machine; nobody who answers is waited for that long. */
const SECONDS = 30;

export const both = ({ ts, py }: Fleet): string[] => [ts, py];

/** Celery's client asks. */
export async function celeryAsks(
  fleet: Fleet,
  command: string,
  given: object,
  nodes: readonly string[] = both(fleet),
): Promise<Answers<Heard>> {
  const variables = { command, arguments: given, destination: nodes, timeout: SECONDS };
  const source = `${asking}\nanswer = ask(app, command, arguments, destination, timeout)`;
  return (await fleet.client.run(source, variables)) as Answers<Heard>;
}

/** Our client asks. */
export async function weAsk(
  fleet: Fleet,
  command: string,
  given: object,
  nodes: readonly string[] = both(fleet),
): Promise<Answers<unknown>> {
  const options = { arguments: { ...given }, destination: nodes, reply: true, timeout: SECONDS };
  return Object.assign({}, ...((await fleet.app.control.broadcast(command, options)) ?? []));
}

/** `celery <words>`, in the process of the fleet's client. */
export async function celery(fleet: Fleet, ...words: readonly string[]): Promise<Ran> {
  const source = `${asking}\nanswer = command_line(words)`;
  return (await fleet.client.run(source, { words: ["-b", fleet.site.broker, ...words] })) as Ran;
}

/** What this Celery's command line and workers know. */
export async function celeryPanel(fleet: Fleet): Promise<Panel> {
  return (await fleet.client.run(`${asking}\nanswer = panel()`)) as Panel;
}

let last: Promise<unknown> = Promise.resolve();

/** `lovage <words>`, in this process and hence one at a time. */
export function lovage(fleet: Fleet, ...words: readonly string[]): Promise<Ran> {
  const run = last.then(() => captured(["-b", fleet.site.broker, ...words]));
  last = run.catch(() => undefined);
  return run;
}

async function captured(words: readonly string[]): Promise<Ran> {
  const said = { stdout: "", stderr: "" };
  const written = { stdout: process.stdout.write, stderr: process.stderr.write };
  const kept = { ...process.env };
  for (const name of ["stdout", "stderr"] as const) {
    process[name].write = (chunk: unknown) => {
      said[name] += String(chunk);
      return true;
    };
  }
  try {
    const code = await runCommandLine(words);
    return { code, ...said };
  } finally {
    for (const name of ["stdout", "stderr"] as const) process[name].write = written[name];
    process.env = kept;
  }
}
