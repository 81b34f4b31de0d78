#!/usr/bin/env node
/** The program `lovage`. */
import { runCommandLine } from "./commands.ts";
import { endWith, guardOutput } from "./output.ts";

guardOutput();
endWith(await runCommandLine(process.argv.slice(2)));
