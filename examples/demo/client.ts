/** The TypeScript client of the demo. Prints one JSON line for each call; `scripts/demo.mjs` makes a table of them. */
import { randomUUID } from "node:crypto";
import { RemoteTaskError } from "lovage";
import { app, divide, flaky, greet, mean, square } from "./tasks.ts";

const timeout = 20_000;

async function report(to: string, call: string, act: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  const outcome = await act().then(
    (value) => ({ result: JSON.stringify(value) }),
    (error: unknown) => {
      if (!(error instanceof RemoteTaskError)) throw error;
      return { error: error.message };
    },
  );
  const ms = Math.round((performance.now() - start) * 10) / 10;
  console.log(JSON.stringify({ from: "TypeScript", to, call, ms, ...outcome }));
}

const withPython = process.argv.includes("--python");

if (withPython) {
  await report("Python", "mean([1, 2, 3, 4])", async () =>
    (await app.send(mean, { numbers: [1, 2, 3, 4] })).get({ timeout }),
  );
  await report("Python", "divide(1, 0), which fails", async () =>
    (await app.send(divide, { a: 1, b: 0 })).get({ timeout }),
  );
} else {
  await report("TypeScript", 'greet("Ada")', async () => (await app.send(greet, { name: "Ada" })).get({ timeout }));
  await report("TypeScript", "flaky(2), which retries", async () =>
    (await app.send(flaky, { failures: 2 })).get({ timeout }),
  );
}

// Each step receives the result of the one before as its first argument.
const middle = withPython ? "demo.py.add_one" : square.name;
const last = randomUUID();
const step = (name: string, options = {}) => ({
  ...{ task: name, args: [], kwargs: {}, options, subtask_type: null, immutable: false },
});
const steps = [step(square.name, { task_id: last }), step(middle)];
const path = withPython ? "TypeScript > Python > TypeScript" : "TypeScript";
await report(path, `square(3) | ${middle.split(".").at(-1)} | square`, async () => {
  await app.send(square, [3], { chain: steps });
  return app.result(last).get({ timeout });
});

await app.close();
