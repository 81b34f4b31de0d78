#!/usr/bin/env node
/** The program `lovage`. What it runs is loaded when a worker already listens for signals. */
import { endWith, guardOutput } from "./output.ts";
import { stopSignals } from "./stop-signals.ts";

const args = process.argv.slice(2);
guardOutput();
if (args.includes("worker")) stopSignals.listen();
const { runCommandLine } = await import("./commands.ts");
endWith(await runCommandLine(args));
