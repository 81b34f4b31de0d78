/** Commands that change the pool. wire: celery/worker/control.py; behaviour 3.3. */
import { command } from "../command.ts";
import { CommandError } from "../errors.ts";
import { nok, ok } from "../state.ts";

/** A pool of more slots than this is somebody's mistake. */
const MOST_SLOTS = 1_000_000;

function slots(value: unknown, fallback: number): number {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : (value ?? fallback);
  if (typeof number === "number" && Number.isInteger(number) && number >= 0 && number <= MOST_SLOTS) return number;
  throw new CommandError("ValueError", [`a number of slots is a whole number up to ${MOST_SLOTS}`]);
}

const resizing = (verb: "grow" | "shrink") =>
  command(
    {
      name: `pool_${verb}`,
      kind: "control",
      help: `${verb === "grow" ? "Grow" : "Shrink"} pool by n processes/threads.`,
      parameters: "n=1, **kwargs",
      args: [["n", "int"]],
      signature: "[N=1]",
    },
    ({ worker: { pool } }, { n }) => {
      if (pool.autoscaler !== null) {
        return nok(`pool_${verb} is not supported with autoscale. Adjust autoscale range instead.`);
      }
      const by = slots(n, 1);
      try {
        pool[verb](by);
      } catch (cause) {
        throw new CommandError("ValueError", [cause instanceof Error ? cause.message : String(cause)], { cause });
      }
      return ok(`pool will ${verb}`);
    },
  );

export const poolGrow = resizing("grow");
export const poolShrink = resizing("shrink");

export const poolRestart = command(
  {
    name: "pool_restart",
    kind: "control",
    help: "Restart execution pool.",
    parameters: "modules=None, reload=False, reloader=None, **kwargs",
  },
  ({ worker }) => {
    if (!worker.pool.restartable) throw new CommandError("ValueError", ["Pool restarts not enabled"]);
    worker.pool.restart();
    return ok("reload started");
  },
);

export const autoscale = command(
  {
    name: "autoscale",
    kind: "control",
    help: "Modify autoscale settings.",
    parameters: "max=None, min=None",
    args: [
      ["max", "int"],
      ["min", "int"],
    ],
    signature: "[max [min]]",
  },
  ({ worker }, { max, min }) => {
    const { autoscaler } = worker.pool;
    if (autoscaler === null) throw new CommandError("ValueError", ["Autoscale not enabled"]);
    const bound = (value: unknown) => (value === null || value === undefined ? null : slots(value, 0));
    const now = autoscaler.update(bound(max), bound(min));
    return ok(`autoscale now max=${now.max} min=${now.min}`);
  },
);
