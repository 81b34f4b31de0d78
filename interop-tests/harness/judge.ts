/** Whether what was seen of a case is what it promises, and what Python sees of Python. Throws as Vitest's `expect` does. */
import { expect } from "vitest";
import { HarnessError } from "../../src/testing/index.ts";
import { type Case, type Direction, expectationOf } from "../celery/case.ts";
import { offReason, type Stores } from "../features.ts";
import { compare } from "./outcome.ts";
import { type Report, type Reports, reportKey } from "./run-cell.ts";

/** The report of a case; throws when its cell or the case did not run. */
export function reportOf(reports: Reports | Error | undefined, name: string, direction: string): Report {
  if (reports instanceof Error) throw reports;
  const report = reports?.get(reportKey(name, direction));
  if (report === undefined) throw new HarnessError("NOT_RUN", `${name} did not run`);
  return report;
}

export function judgeCase(
  one: Case,
  direction: Direction,
  cell: { readonly version: string; readonly stores: Stores },
  reports: Reports | Error | undefined,
): void {
  const compared = one.control === undefined && direction.name !== "py-py";
  const hasControl = compared && offReason(one.name, cell.version, cell.stores, "py-py") === null;
  const report = reportOf(reports, one.name, direction.name);
  judge(one, direction, report, hasControl ? reportOf(reports, one.name, "py-py") : null);
  expect(report.seen.length, "clients that saw the result").toBe(observers(one, cell.stores));
}

/** Both clients, but with rpc only the one that asked; nobody asks for the result of a bare message. */
function observers(one: Case, stores: Stores): number {
  if (one.kind === "order") return 1;
  if (stores === "amqp+rpc") return one.kind === "message" ? 0 : 1;
  return 2;
}

function judge(one: Case, direction: Direction, report: Report, control: Report | null): void {
  const promise = expectationOf(one, direction);
  if (report.problem !== null) throw new HarnessError("CASE_FAILED", report.problem);
  for (const { by, outcome } of report.seen) {
    const { actual, expected } = compare(promise, outcome);
    expect({ seenBy: by, ...Object(actual) }).toEqual({ seenBy: by, ...Object(expected) });
  }
  expect(report.during).toEqual(promise.during ?? null);
  expect(report.records).toEqual(promise.records ?? []);
  const yardstick = control?.seen.find(({ by }) => by === "python")?.outcome;
  if (yardstick === undefined) return;
  for (const { by, outcome } of report.seen) expect({ by, outcome }).toEqual({ by, outcome: yardstick });
}
