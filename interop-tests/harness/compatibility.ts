/** The matrix's part of `docs/compatibility.md`, made of what a run has proven: the same text for the same outcome, without times or machines. */
import { type Case, groupOf } from "../celery/case.ts";
import { directions, off, offReason, stores, versions } from "../features.ts";
import { titles } from "./compatibility-file.ts";
import type { KnownFailure } from "./known-failing.ts";
import { drainedCase, reportKey } from "./run-cell.ts";

/** How often a case passed in a cell, by `reportKey(case, "<version> <stores>")`. */
export type Tally = Map<string, number>;

/** A row for each group of cases, a column for each client and fleet. `cell` says how many of how many passed. */
export function mognetText(
  intro: string,
  groups: readonly string[],
  columns: readonly string[],
  cell: (group: string, column: string) => string,
  notes: readonly string[],
): string {
  const rows = groups.map((group) => `| ${group} | ${columns.map((column) => cell(group, column)).join(" | ")} |`);
  const table = [`| | ${columns.join(" | ")} |`, `| --- |${columns.map(() => " --- |").join("")}`, ...rows];
  return `${titles.mognet}\n\n${intro}\n\n${table.join("\n")}\n\n${notes.join("\n\n")}\n`;
}

export function compatibilityText(cases: readonly Case[], tally: Tally, known: readonly KnownFailure[]): string {
  const groups = [...new Set([...cases.map(({ name }) => groupOf(name)), groupOf(drainedCase)])];
  const rows = versions.map(({ celery, kombu }) =>
    [
      `## Celery ${celery} with Kombu ${kombu}`,
      "",
      `| | ${stores.join(" | ")} |`,
      `| --- |${stores.map(() => " --- |").join("")}`,
      ...groups.map(
        (group) => `| ${group} | ${stores.map((cell) => cellText(cases, tally, group, celery, cell)).join(" | ")} |`,
      ),
    ].join("\n"),
  );
  return `${[
    "# Compatibility",
    "Written by the interop matrix (`npm test -- --ring interop`), never by hand; a run that would write something else fails in CI.",
    `${cases.length} cases run against real Celery in ${directions.length} directions: TypeScript client to Python worker, Python client to ` +
      "TypeScript worker, TypeScript to TypeScript, and Python to Python as the control that the others are compared with. A number is how " +
      "many cases and directions passed, of how many that are on. With every result backend but `rpc` both clients look at each result.",
    ...rows,
    "## What is off, and why",
    offText(),
    "## Known to fail",
    knownText(known),
  ].join("\n\n")}\n`;
}

function cellText(
  cases: readonly Case[],
  tally: Tally,
  group: string,
  version: string,
  cell: (typeof stores)[number],
): string {
  const names = cases.map(({ name }) => name).filter((name) => groupOf(name) === group);
  const on = names.flatMap((name) =>
    directions.filter((direction) => offReason(name, version, cell, direction.name) === null),
  ).length;
  const own = group === groupOf(drainedCase) ? [drainedCase] : [];
  const passed = [...names, ...own].reduce(
    (sum, name) => sum + (tally.get(reportKey(name, `${version} ${cell}`)) ?? 0),
    0,
  );
  const all = on + own.length;
  return all === 0 ? "off" : `${passed}/${all}`;
}

function offText(): string {
  return off
    .map(({ cases, stores: where, directions: ways, versions: which, reason }) => {
      const scope = [...(which ?? []), ...(where ?? []), ...(ways ?? [])].join(", ");
      return `- \`${cases}\`${scope === "" ? "" : ` (${scope})`}: ${reason}.`;
    })
    .join("\n");
}

function knownText(known: readonly KnownFailure[]): string {
  if (known.length === 0) return "Nothing.";
  return known
    .map((entry) => `- \`${entry.case}\` (${entry.version}, ${entry.stores}, ${entry.direction}): ${entry.reason}.`)
    .join("\n");
}
