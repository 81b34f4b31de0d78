/**
 * What every other script needs first: the npm packages and the build. Both are done only when out of date. Runs before
 * anything is installed, so it knows Node's own modules only.
 *
 *   node scripts/setup.mjs [--no-build]
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { cache, main, root, run, Stop, say } from "./lib/run.mjs";

const oldestNode = [20, 19];

export function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    throw new Stop(`Lovage needs Node ${oldestNode.join(".")} or newer; this is ${process.versions.node}`);
  }
}

/** `npm ci`, unless node_modules is what package-lock.json asks for. */
export async function installPackages() {
  checkNode();
  const lock = join(root, "package-lock.json");
  // npm writes this file when it has finished; it is older than the lock when the lock changed since.
  const done = join(root, "node_modules", ".package-lock.json");
  if (existsSync(done) && sameLock(lock, done)) return;
  say("installing npm packages");
  const npm = await run("npm", ["ci", "--no-audit", "--no-fund"], { output: "quiet" });
  if (npm.code !== 0) throw new Stop(`npm ci failed:\n${npm.text.trimEnd()}`);
}

/** Whether every package of the lock stands in node_modules in its version. Times do not tell: git writes files when it likes. */
function sameLock(lockPath, installedPath) {
  const wanted = JSON.parse(readFileSync(lockPath, "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  return Object.entries(wanted).every(
    ([path, entry]) => path === "" || entry.optional || installed[path]?.version === entry.version,
  );
}

/**
 * Compiles to dist/ when a source is newer than the last good build. The compiler writes what it can also when it finds
 * type errors; resolves with its output then, and with "" when all is well.
 */
export async function build({ force = false } = {}) {
  const stamp = join(cache, "build-stamp");
  const inputs = ["src", "protocol", "tsconfig.json", "tsconfig.build.json", "package-lock.json"];
  const newest = Math.max(...inputs.map((name) => newestTime(join(root, name))));
  const main = join(root, "dist", "src");
  if (!force && existsSync(main) && existsSync(stamp) && statSync(stamp).mtimeMs >= newest) return "";
  say("building");
  const started = new Date();
  const tsc = await run(process.execPath, [tscPath(), "-p", "tsconfig.build.json"], { output: "quiet" });
  mkdirSync(cache, { recursive: true });
  if (tsc.code === 0) writeFileSync(stamp, started.toISOString());
  else rmSync(stamp, { force: true });
  return tsc.code === 0 ? "" : tsc.text.trimEnd();
}

/** The compiler's program, started with our own Node rather than whichever `npx` finds. */
export function tscPath() {
  return binPath("typescript", "tsc");
}

export function binPath(packageName, name = packageName) {
  const folder = join(root, "node_modules", packageName);
  const { bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return join(folder, typeof bin === "string" ? bin : bin[name]);
}

function newestTime(path) {
  const info = statSync(path);
  if (!info.isDirectory()) return info.mtimeMs;
  return Math.max(info.mtimeMs, ...readdirSync(path).map((name) => newestTime(join(path, name))));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async (args) => {
    await installPackages();
    if (args.includes("--no-build")) return 0;
    const errors = await build();
    if (errors) throw new Stop(errors);
    return 0;
  });
}
