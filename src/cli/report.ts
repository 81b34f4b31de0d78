/** `lovage report`: versions and settings, for bug reports. No password is in it. */
import { confTable } from "../control/conf.ts";
import { reportText } from "../control/report.ts";
import { version } from "../runtime/version.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { print } from "./output.ts";

export const report: Command = {
  name: "report",
  summary: "print versions and settings for a bug report",
  usage: "[-A app] [--json]",
  about:
    "What runs here, and how it is configured. Passwords are masked. For what a running worker has, see: inspect report.",
  examples: ["lovage report -A ./app.js", "lovage report --json"],
  flags: { ...APP_FLAGS, json: { type: "boolean", short: "j", help: "one JSON document" } },
  async run(given) {
    if (given.words.length > 0) throw new UsageError(`unexpected ${given.words.join(" ")}`);
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level);
    const set = app.givenSettings;
    if (!given.on("json")) print(reportText(app.settings, set, version()).trimEnd());
    else {
      const { node, v8, openssl } = process.versions;
      const settings = Object.fromEntries(confTable(app.settings, false, set));
      print(
        JSON.stringify({
          lovage: version(),
          node,
          v8,
          openssl,
          platform: process.platform,
          arch: process.arch,
          settings,
        }),
      );
    }
    return EXIT.ok;
  },
};
