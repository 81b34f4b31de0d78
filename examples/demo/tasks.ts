/**
 * The app of the demo: three tasks that run here, and two that run in Python (`tasks.py`) and are only declared, so that calls to
 * them are typed. No broker is named: without one, messages and results are files under `.lovage/`.
 */
import { Celery, task } from "lovage";
import { z } from "zod";

export const greet = task("demo.ts.greet", { params: { name: z.string() }, returns: z.string() }, ({ name }) => {
  return `Hello ${name}, from Node ${process.versions.node}`;
});

export const square = task("demo.ts.square", { params: { n: z.number() }, returns: z.number() }, ({ n }) => n * n);

export const flaky = task(
  "demo.ts.flaky",
  { params: { failures: z.int() }, returns: z.string() },
  ({ failures }, context) => {
    if (context.retries < failures) {
      context.retry({ countdown: 0.1, exc: new RangeError(`attempt ${context.retries + 1} went wrong`) });
    }
    return `done at attempt ${context.retries + 1}`;
  },
);

export const mean = task("demo.py.mean", { params: { numbers: z.array(z.number()) }, returns: z.number() });
export const divide = task("demo.py.divide", { params: { a: z.number(), b: z.number() }, returns: z.number() });

export const app = new Celery("demo", {
  tasks: [greet, square, flaky, mean, divide],
  settings: {
    task_default_queue: "demo-typescript",
    task_routes: { "demo.ts.*": "demo-typescript", "demo.py.*": "demo-python" },
  },
});
