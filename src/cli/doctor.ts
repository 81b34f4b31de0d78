/** `lovage doctor`: looks for what usually goes wrong between an app, its broker, its results and its workers. */
import { acceptedTypes, builtinSerializers } from "../../protocol/serialization.ts";
import type { Celery } from "../app.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { newId } from "../runtime/ids.ts";
import { version } from "../runtime/version.ts";
import { pickBackend, pickBroker } from "../settings/urls.ts";
import type { ServerInfo, Transport } from "../transports/transport.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { inTime, withBroker } from "./broker.ts";
import { type Command, EXIT } from "./command.ts";
import { print } from "./output.ts";

type Verdict = "ok" | "warn" | "fail";

export interface Finding {
  check: string;
  verdict: Verdict;
  detail: string;
}

/** Clocks farther apart than this make ETAs and expiry wrong in ways that people notice. */
const SKEW_MS = 2_000;

export const doctor: Command = {
  name: "doctor",
  summary: "check broker, results, queues, serializers and clocks",
  usage: "[-A ./app.js] [-Q queues] [--timeout SECONDS] [--json]",
  about: [
    "Can the broker and the result store be reached? Do queue arguments clash with what is declared? Is the serializer",
    "accepted? Is anybody consuming (RabbitMQ tells, Redis and files do not)? Do the clocks agree? Which versions are there?",
    "It changes nothing. Ends with 1 when a check fails; warnings end with 0.",
  ].join("\n"),
  examples: [
    "lovage doctor -A ./app.js",
    "lovage doctor -b redis://localhost:6379/0 --result-backend redis://localhost:6379/0 --json",
  ],
  flags: {
    ...APP_FLAGS,
    queues: { type: "string", short: "Q", multiple: true, value: "NAMES", help: "queues to look at, comma separated" },
    timeout: { type: "string", value: "SECONDS", help: "how long each server may take to answer (default 5)" },
    json: { type: "boolean", short: "j", help: "one JSON document" },
  },
  async run(given) {
    const timeoutMs = (given.number("timeout") ?? 5) * 1000;
    const level = applyAppFlags(given, "fatal");
    const app = await openApp(given, level);
    const findings: Finding[] = [
      { check: "versions", verdict: "ok", detail: `lovage ${version()}, node ${process.versions.node}` },
      ...app.notices.map((detail): Finding => ({ check: "settings", verdict: "warn", detail })),
      ...serializers(app),
    ];
    try {
      findings.push(...(await broker(app, given.list("queues"), timeoutMs)), await results(app, timeoutMs));
    } finally {
      await closed(app, timeoutMs);
    }
    if (given.on("json")) print(JSON.stringify(findings));
    else for (const finding of findings) print(line(finding));
    return findings.some(({ verdict }) => verdict === "fail") ? EXIT.failed : EXIT.ok;
  },
};

const MARKS: Record<Verdict, string> = { ok: "ok  ", warn: "warn", fail: "FAIL" };

function line({ verdict, check, detail }: Finding): string {
  return `${MARKS[verdict]}  ${check.padEnd(14)} ${detail}`;
}

/** A store that is away may keep `close` busy; what it says then was said before. */
async function closed(app: Celery, timeoutMs: number): Promise<void> {
  await inTime(app.close(), timeoutMs, "closing").catch(() => undefined);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function serializers(app: Celery): Finding[] {
  const { settings } = app;
  const pairs = [
    ["task_serializer", settings.task_serializer, "accept_content", settings.accept_content],
    [
      "result_serializer",
      settings.result_serializer,
      settings.result_accept_content === null ? "accept_content" : "result_accept_content",
      settings.result_accept_content ?? settings.accept_content,
    ],
  ] as const;
  return pairs.map(([name, serializer, accepting, accept]) => {
    const { contentType } = builtinSerializers.byName(serializer);
    const accepted = acceptedTypes(accept).has(contentType);
    const list = accept.length === 0 ? "which is empty" : accept.join(", ");
    const detail = `${name} ${serializer} is ${accepted ? "" : "not "}in ${accepting} (${list})`;
    return { check: "serializer", verdict: accepted ? "ok" : "fail", detail };
  });
}

async function broker(app: Celery, names: readonly string[], timeoutMs: number): Promise<Finding[]> {
  const picked = pickBroker(app.settings, { purpose: "read" });
  const where = picked.embedded ? "files under .lovage/" : picked.urls.map(maskUrl).join(" ; ");
  const findings: Finding[] = [];
  try {
    await withBroker(app, timeoutMs, async (transport) => {
      const info = await inTime(Promise.resolve(transport.serverInfo?.()), timeoutMs, "the broker");
      const server = info === undefined ? "" : `, ${info.product} ${info.version}`;
      findings.push({ check: "broker", verdict: "ok", detail: `${where}${server}` }, ...serverFindings(info));
      findings.push(...(await queues(app, transport, names, timeoutMs)));
    });
  } catch (error) {
    findings.push({ check: "broker", verdict: "fail", detail: `${where}: ${reason(error)}` });
  }
  return findings;
}

function serverFindings(info: ServerInfo | undefined): Finding[] {
  if (info === undefined) return [];
  const findings: Finding[] = info.warnings.map((detail) => ({ check: "broker", verdict: "warn", detail }));
  if (info.timeMs === null) return findings;
  return [...findings, clock(info.timeMs - Date.now())];
}

/** `skewMs` is how far the server's clock is ahead of ours. */
export function clock(skewMs: number): Finding {
  const apart = Math.abs(Math.round(skewMs));
  if (apart < SKEW_MS) {
    return { check: "clock", verdict: "ok", detail: `the broker's clock and ours are ${apart} ms apart` };
  }
  const seconds = Math.round(apart / 100) / 10;
  const side = skewMs > 0 ? "ahead of" : "behind";
  const detail = `the broker's clock is ${seconds} s ${side} ours: ETAs and expiry will be off`;
  return { check: "clock", verdict: "warn", detail };
}

async function results(app: Celery, timeoutMs: number): Promise<Finding> {
  const picked = pickBackend(app.settings);
  const where = picked.embedded ? "files under .lovage/" : picked.urls.map(maskUrl).join(" ; ");
  try {
    const { backend } = app;
    if (backend === null) {
      return { check: "results", verdict: "warn", detail: "no result_backend is set: results are kept nowhere" };
    }
    const asked = backend.can.sharedReads ? backend.get(newId()) : backend.replyTo();
    await inTime(Promise.resolve(asked), timeoutMs, "the result store");
    return { check: "results", verdict: "ok", detail: where };
  } catch (error) {
    return { check: "results", verdict: "fail", detail: `${where}: ${reason(error)}` };
  }
}

async function queues(
  app: Celery,
  transport: Transport,
  names: readonly string[],
  timeoutMs: number,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const wanted = names.length > 0 ? names : app.queues.configured.map((queue) => queue.name);
  for (const name of wanted) {
    const check = `queue ${name}`;
    try {
      const queue = app.queues.get(name);
      const found = await inTime(transport.inspectQueue(name), timeoutMs, "the broker");
      if (found === null) {
        findings.push({
          check,
          verdict: "warn",
          detail: "does not exist: nobody has sent to it or consumed from it yet",
        });
        continue;
      }
      // It is there: declaring it changes nothing, and tells whether it is what we would declare. Where the broker keeps
      // no attributes (Redis, files) there is nothing to clash with.
      if (found.consumers !== null) await inTime(transport.declare([queue]), timeoutMs, "the broker");
      findings.push({ check, ...consumption(found) });
    } catch (error) {
      findings.push({ check, verdict: "fail", detail: reason(error) });
    }
  }
  return findings;
}

function consumption({ messages, consumers }: { messages: number; consumers: number | null }): Omit<Finding, "check"> {
  const waiting = `${messages} waiting`;
  if (consumers === null) return { verdict: "ok", detail: `${waiting}; this broker does not tell who consumes` };
  if (consumers === 0) return { verdict: "warn", detail: `${waiting}, and nobody consumes from it` };
  return { verdict: "ok", detail: `${waiting}, ${consumers} consuming` };
}
