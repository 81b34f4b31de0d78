/** The rows of `docs/compatibility.md` that the tests of pools write: each file its own, a column for each pool. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { type FeatureTable, writesFeatures } from "../harness/feature-table.ts";

const columns = ["async", "threads", "processes"];

/** The pool that a title names; a test of child processes names no other. */
const poolOf = (words: string): string =>
  columns.find((pool) => words.includes(`pool ${pool}`)) ??
  columns.find((pool) => words.includes(pool) || words.includes(pool.replace(/es$/, ""))) ??
  "async";

/** Brokers are counted, and have no row of their own. */
const rowOf = (title: string): string => title.replace(/, on (amqp|redis)$/, "");

export function writesPoolFeatures(url: string): void {
  const here = new URL(".", url);
  const others = readdirSync(here).filter((name) => name.endsWith(".test.ts") && name !== basename(url));
  const texts = others.map((name) => readFileSync(new URL(name, here), "utf8"));
  const table: FeatureTable = {
    part: "pools",
    intro:
      "Real Celery sends the tasks, steers the worker, and says what it got, to TypeScript workers with each pool on RabbitMQ and Redis. " +
      "A number is how many tests passed, of how many there are.",
    columns,
    place: (suites, title) => ({
      row: rowOf(title),
      column: poolOf([...suites, title].join(" ")),
    }),
    isForeign: (row) => texts.some((text) => text.includes(`"${row}`)),
  };
  writesFeatures(table);
}
