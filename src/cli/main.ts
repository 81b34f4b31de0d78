#!/usr/bin/env node
/** The program `lovage`. What it runs is loaded when a worker already listens for signals. */
import { complain, endWith, guardOutput } from "./output.ts";
import { stopSignals } from "./stop-signals.ts";

const args = process.argv.slice(2);
guardOutput();
if (args.includes("worker") || (args.includes("mognet") && args.includes("run"))) stopSignals.listen();
// Node's own exit code for a top-level await that nothing can settle any more.
process.once("exit", () => {
  if (process.exitCode !== 13) return;
  complain("lovage: a module never finished loading: a top-level await in it waits for what cannot come\n");
  process.exitCode = 1;
});
const { runCommandLine } = await import("./commands.ts");
endWith(await runCommandLine(args));
