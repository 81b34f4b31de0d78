/** `lovage doctor`: looks for what usually goes wrong between an app, its broker, its results and its workers. */
import { acceptedTypes, builtinSerializers } from "../../protocol/serialization.ts";
import type { Celery } from "../app.ts";
import { pause } from "../runtime/backoff.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { newId } from "../runtime/ids.ts";
import { pickBackend, pickBroker } from "../settings/urls.ts";
import type { ServerInfo } from "../transports/transport.ts";
import { APP_FLAGS, applyAppFlags, levelOf, openApp } from "./app-flags.ts";
import { type Command, EXIT, print } from "./command.ts";
import { version } from "./version.ts";

type Verdict = "ok" | "warn" | "fail";

interface Finding {
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
    "accepted? Is anybody consuming? Do the clocks agree? Which versions are there? Ends with 1 when a check fails.",
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
    applyAppFlags(given);
    const app = await openApp(given, levelOf(given, "fatal"));
    const timeoutMs = (given.number("timeout") ?? 5) * 1000;
    const findings: Finding[] = [];
    try {
      findings.push({ check: "versions", verdict: "ok", detail: `lovage ${version()}, node ${process.versions.node}` });
      findings.push(...serializers(app));
      const reached = await broker(app, timeoutMs);
      findings.push(...reached.findings);
      findings.push(await results(app, timeoutMs));
      if (reached.ok) findings.push(...(await queues(app, given.list("queues"), timeoutMs)));
    } finally {
      await Promise.race([app.close(), pause(timeoutMs, undefined, true)]);
    }
    if (given.on("json")) print(JSON.stringify(findings));
    else for (const { verdict, check, detail } of findings) print(`${MARKS[verdict]} ${check.padEnd(14)} ${detail}`);
    return findings.some(({ verdict }) => verdict === "fail") ? EXIT.failed : EXIT.ok;
  },
};

const MARKS: Record<Verdict, string> = { ok: "ok  ", warn: "warn", fail: "FAIL" };

function failure(check: string, error: unknown): Finding {
  const reason = error instanceof Error ? error.message : String(error);
  return { check, verdict: "fail", detail: reason };
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
    const detail = `${name} ${serializer} is ${accepted ? "" : "not "}in ${accepting} (${accept.join(", ")})`;
    return { check: "serializer", verdict: accepted ? "ok" : "fail", detail };
  });
}

async function broker(app: Celery, timeoutMs: number): Promise<{ ok: boolean; findings: Finding[] }> {
  const picked = pickBroker(app.settings);
  const where = picked.embedded ? "files under .lovage/" : picked.urls.map(maskUrl).join(" ; ");
  try {
    await app.transport.connect(AbortSignal.timeout(timeoutMs));
    const info = await app.transport.serverInfo?.();
    return {
      ok: true,
      findings: [{ check: "broker", verdict: "ok", detail: `${where}${named(info)}` }, ...serverFindings(info)],
    };
  } catch (error) {
    const reason =
      error instanceof Error && error.name === "TimeoutError" ? `no answer within ${timeoutMs / 1000} s` : error;
    const { detail } = failure("broker", reason);
    return { ok: false, findings: [{ check: "broker", verdict: "fail", detail: `${where}: ${detail}` }] };
  }
}

function named(info: ServerInfo | undefined): string {
  return info === undefined ? "" : `, ${info.product} ${info.version}`;
}

function serverFindings(info: ServerInfo | undefined): Finding[] {
  if (info === undefined) return [];
  const findings: Finding[] = info.warnings.map((detail) => ({ check: "broker", verdict: "warn", detail }));
  if (info.timeMs === null) return findings;
  const skew = Math.round(info.timeMs - Date.now());
  const near = Math.abs(skew) < SKEW_MS;
  const detail = near
    ? `the broker's clock and ours are ${Math.abs(skew)} ms apart`
    : `the broker's clock is ${Math.abs(skew) / 1000} s ${skew > 0 ? "ahead of" : "behind"} ours: ETAs and expiry will be off`;
  return [...findings, { check: "clock", verdict: near ? "ok" : "warn", detail }];
}

async function results(app: Celery, timeoutMs: number): Promise<Finding> {
  const picked = pickBackend(app.settings);
  const { backend } = app;
  if (backend === null) {
    return { check: "results", verdict: "warn", detail: "no result_backend is set: results are kept nowhere" };
  }
  const where = picked.embedded ? "files under .lovage/" : picked.urls.map(maskUrl).join(" ; ");
  const late = pause(timeoutMs, undefined, true).then(() => {
    throw new RangeError(`no answer within ${timeoutMs / 1000} s`);
  });
  try {
    await Promise.race([backend.can.sharedReads ? backend.get(newId()) : backend.replyTo(), late]);
    return { check: "results", verdict: "ok", detail: where };
  } catch (error) {
    const { detail } = failure("results", error);
    return { check: "results", verdict: "fail", detail: `${where}: ${detail}` };
  }
}

async function queues(app: Celery, names: readonly string[], timeoutMs: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const queue of app.selectQueues(names)) {
    const check = `queue ${queue.name}`;
    try {
      // Before anything is declared: what is there already?
      const before = await app.transport.inspectQueue(queue.name);
      await Promise.race([app.transport.declare([queue]), pause(timeoutMs, undefined, true)]);
      const consumers = before?.consumers ?? null;
      const waiting = `${before?.messages ?? 0} waiting`;
      if (before === null)
        findings.push({ check, verdict: "warn", detail: "did not exist; nobody has consumed from it yet" });
      else if (consumers === 0)
        findings.push({ check, verdict: "warn", detail: `${waiting}, and nobody consumes from it` });
      else
        findings.push({
          check,
          verdict: "ok",
          detail: consumers === null ? waiting : `${waiting}, ${consumers} consuming`,
        });
    } catch (error) {
      findings.push(failure(check, error));
    }
  }
  return findings;
}
