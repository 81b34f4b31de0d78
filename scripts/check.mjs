/** `npm run check`: types, the purity of `protocol/`, formatting and lint. Ends with code 1 if any of them has a complaint. */
import { join } from "node:path";
import { main, run, say } from "./lib/run.mjs";
import { binPath, installPackages, tscPath } from "./setup.mjs";

const checks = [
  { name: "types", args: () => [tscPath(), "--noEmit", "-p", "tsconfig.json"] },
  {
    name: "types of protocol/, without Node",
    args: () => [tscPath(), "--noEmit", "-p", join("protocol", "tsconfig.json")],
  },
  { name: "format and lint", args: () => [binPath("@biomejs/biome", "biome"), "check", "--error-on-warnings", "."] },
];

await main(async () => {
  await installPackages();
  let failed = 0;
  for (const { name, args } of checks) {
    const { code, text } = await run(process.execPath, args(), { output: "quiet", timeoutMs: 300_000 });
    say(`${code === 0 ? "ok    " : "failed"}  ${name}`);
    if (code !== 0) {
      failed++;
      say(text.trimEnd());
    }
  }
  if (failed > 0) say(`\n${failed} of ${checks.length} checks failed`);
  return failed === 0 ? 0 : 1;
});
