/** Runs the steps of a group in the order of the text, against servers that the group has for itself. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import {
  endsWithin,
  PeerProcess,
  type RedisServer,
  startRedis,
  type TempVhost,
  tempVhost,
  testService,
} from "../../src/testing/index.ts";
import { DocsError } from "./docs-error.ts";
import type { Sample, SampleGroup } from "./extract.ts";
import { type Addresses, compile, fileOf, folderOf, root, withAddresses, writeGroup } from "./sample-folder.ts";

const stepMs = 90_000;

export async function runGroup(group: SampleGroup): Promise<void> {
  const text = group.samples.map((sample) => sample.text).join("\n");
  await using servers = await startServers(text);
  await using peers = new Peers();
  const folder = folderOf(group);
  mkdirSync(folder, { recursive: true });
  writeGroup(group, servers.addresses);
  // Compiled once more for the sake of the addresses; that every sample compiles is the business of another test.
  if (group.samples.some(({ language }) => language === "ts")) await compile([group]);
  let last: string | undefined;
  for (const sample of group.samples) {
    if (sample.output) compareOutput(sample, last);
    else if (sample.run) last = await runStep(sample, folder, servers, peers);
  }
}

async function runStep(sample: Sample, folder: string, servers: Servers, peers: Peers): Promise<string> {
  const where = `${sample.doc}:${sample.line}`;
  const [command, args] = commandOf(sample, folder, servers.addresses);
  const peer = await PeerProcess.start(command, {
    name: where,
    args,
    cwd: folder,
    env: environment(servers),
  });
  peers.add(peer);
  if (sample.background) {
    await peer.waitForLog(sample.until ?? "ready", { timeout: stepMs });
    return peer.log();
  }
  if (!(await endsWithin(peer.ended, stepMs))) throw new DocsError(`${where} did not end:\n${peer.log()}`);
  const { code } = await peer.ended;
  const printed = peer.log();
  if (code !== 0) throw new DocsError(`${where} ended with code ${code}:\n${printed}\n${peers.logs()}`);
  return printed;
}

type Command = [program: string, args: string[]];

function commandOf(sample: Sample, folder: string, addresses: Addresses): Command {
  const file = fileOf(sample) ?? "";
  const commands: Readonly<Record<string, () => Command>> = {
    ts: () => [process.execPath, [file.replace(/\.ts$/, ".js")]],
    js: () => [process.execPath, [file]],
    // Celery and Mognet have an environment each; samples are Mognet's that name it.
    python: () => [/^\s*(?:from|import) mognet\b/m.test(sample.text) ? "python-mognet" : "python", [file]],
    sh: () => ["bash", ["-e", "-o", "pipefail", "-c", compiledNames(withAddresses(sample.text, addresses), folder)]],
  };
  const command = commands[sample.language];
  if (!command) throw new DocsError(`${sample.doc}:${sample.line}: do not know how to run ${sample.language}`);
  return command();
}

/** Older Nodes do not read TypeScript: a command names the compiled file where the reader names the source. */
function compiledNames(script: string, folder: string): string {
  return script.replace(/(\S+)\.ts\b/g, (found, name: string) =>
    existsSync(join(folder, `${name}.js`)) ? `${name}.js` : found,
  );
}

export function compareOutput(sample: Sample, printed: string | undefined): void {
  const where = `${sample.doc}:${sample.line}`;
  if (printed === undefined) throw new DocsError(`${where}: output of nothing: no step ran before it`);
  const lines = sample.text.trim().split("\n");
  const pattern = lines
    .map((line) => (/^(…|\.\.\.)$/.test(line.trim()) ? "[^]*?" : likeLine(line.trim())))
    .join("\\s*?\n?\\s*");
  if (!new RegExp(pattern).test(printed)) throw new DocsError(`${where} says\n${sample.text}\nbut was\n${printed}`);
}

/** Inside a line `…` stands for any text, for times and ids. */
function likeLine(line: string): string {
  return line
    .split("…")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*?");
}

interface Servers extends AsyncDisposable {
  addresses: Addresses;
  python: string | undefined;
}

async function startServers(text: string): Promise<Servers> {
  const api = testService("LOVAGE_TEST_RABBITMQ_API");
  const amqp = testService("LOVAGE_TEST_AMQP_URL");
  const addresses: Addresses = {};
  let redis: RedisServer | undefined;
  let vhost: TempVhost | undefined;
  if (text.includes("redis://localhost")) {
    redis = await startRedis();
    addresses.redis = redis.url;
  }
  if (text.includes("amqp://") && api !== undefined && amqp !== undefined) {
    vhost = await tempVhost(api, amqp);
    addresses.amqp = vhost.url;
  }
  if (api !== undefined) addresses.api = api;
  return {
    addresses,
    python: testService("LOVAGE_TEST_PYTHON"),
    async [Symbol.asyncDispose]() {
      await redis?.[Symbol.asyncDispose]();
      await vhost?.[Symbol.asyncDispose]();
    },
  };
}

let shimsWritten = false;

/** `lovage` and `npx lovage` are this package, `python` and `celery` those of the private environment. */
function environment({ python }: Servers): Record<string, string | undefined> {
  const shims = join(root, ".cache", "docs-bin");
  const folders = [shims, dirname(process.execPath), ...(python ? [dirname(python)] : []), process.env.PATH ?? ""];
  const env = { PATH: folders.join(delimiter), NODE_ENV: undefined, FORCE_COLOR: undefined, PYTHONUNBUFFERED: "1" };
  // Once: what runs in the background may be reading them.
  if (shimsWritten) return env;
  shimsWritten = true;
  mkdirSync(shims, { recursive: true });
  const write = (name: string, script: string) => {
    writeFileSync(join(shims, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(shims, name), 0o755);
  };
  write("lovage", `exec "${process.execPath}" "${join(root, "dist", "src", "cli", "main.js")}" "$@"`);
  write("npx", 'exec "$@"');
  const mognet = testService("LOVAGE_TEST_PYTHON_MOGNET");
  if (mognet !== undefined) {
    write("mognet", `exec "${mognet}" -m mognet "$@"`);
    write("python-mognet", `exec "${mognet}" "$@"`);
  }
  return env;
}

class Peers implements AsyncDisposable {
  readonly #peers: PeerProcess[] = [];

  add(peer: PeerProcess): void {
    this.#peers.push(peer);
  }

  logs(): string {
    return this.#peers.map((peer) => `--- ${peer.name}\n${peer.log()}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#peers.map((peer) => peer.stop({ grace: 5_000 })));
  }
}
