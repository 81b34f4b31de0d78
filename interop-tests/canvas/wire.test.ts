/** Every workflow of the grid is the same JSON, whichever language builds it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PythonClient, startPythonClient } from "../../src/testing/index.ts";
import { service } from "../harness/opening.ts";
import { build } from "./build.ts";
import { fixturePaths } from "./fleet.ts";
import { placed } from "./shape.ts";
import { allWorkflows } from "./shapes/all.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_PYTHON_5_7_0 !== undefined;
const workflows = allWorkflows();

describe.skipIf(!ready)("a workflow as data", () => {
  let client: PythonClient;
  let built: unknown;

  beforeAll(async () => {
    client = await startPythonClient({
      python: service("LOVAGE_TEST_PYTHON_5_7_0"),
      settings: { broker_url: "memory://", imports: ["canvas_tasks"] },
      env: { PYTHONPATH: fixturePaths },
    });
    const shapes = workflows.map(({ shape }) => placed(shape, "run"));
    built = await client.run("import canvas_tasks, canvas_client\nanswer = canvas_client.wire(app, shapes)", {
      shapes,
    });
  });

  afterAll(() => client[Symbol.asyncDispose]());

  for (const [index, { name, shape }] of workflows.entries()) {
    test(name, () => {
      const ours: unknown = JSON.parse(JSON.stringify(build(placed(shape, "run"))));
      expect(sortedStamps(ours)).toEqual(sortedStamps(Array.isArray(built) ? built[index] : undefined));
    });
  }
});

/** Python makes the list of a set: its order differs from process to process. */
function sortedStamps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedStamps);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) =>
    key === "stamped_headers" && Array.isArray(inner) ? [key, [...inner].sort()] : [key, sortedStamps(inner)],
  );
  return Object.fromEntries(entries);
}
