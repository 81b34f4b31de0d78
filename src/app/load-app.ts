/** Finds the app that `-A` names: a module, and in it the export that is a Celery app or a Mognet app. */
import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { Celery } from "../app.ts";
import { type AnyTask, isTaskDefinition } from "../tasks/definition.ts";
import { Mognet } from "./mognet.ts";

const ENDINGS = [".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"];

/** One of the two kinds of apps: its class, what it is called, and the exports it is looked for under first. */
interface AppKind<App> {
  readonly is: (value: unknown) => value is App;
  readonly what: string;
  readonly className: string;
  readonly names: readonly string[];
}

const CELERY: AppKind<Celery> = {
  is: (value) => value instanceof Celery,
  what: "Celery app",
  className: "Celery",
  names: ["default", "app", "celery"],
};

const MOGNET: AppKind<Mognet> = {
  is: (value) => value instanceof Mognet,
  what: "Mognet app",
  className: "Mognet",
  names: ["default", "app", "mognet"],
};

/**
 * `./app.js`, `app` (the ending may be left out), a folder with an `index`, `a-package/app`; behind a colon the name of one of
 * several exports. TypeScript is loaded where Node reads it (22.18), or where the project has `tsx`.
 */
export function loadApp(spec: string): Promise<Celery> {
  return loadOne(spec, CELERY);
}

/** The same for a Mognet app. */
export function loadMognetApp(spec: string): Promise<Mognet> {
  return loadOne(spec, MOGNET);
}

/** What one worker is to serve: the Celery app of a module, its Mognet app, or both. */
export async function loadWorkerApps(spec: string): Promise<readonly (Celery | Mognet)[]> {
  const { path, exportName, exports } = await loadModule(spec);
  if (exportName !== undefined) {
    const found = exports[exportName];
    if (found instanceof Mognet) return [found];
    return [pick(exports, path, exportName, CELERY)];
  }
  const mognet = Object.values(exports).some((value) => value instanceof Mognet)
    ? [pick(exports, path, undefined, MOGNET)]
    : [];
  const celery = Object.values(exports).some((value) => value instanceof Celery) || mognet.length === 0;
  return celery ? [pick(exports, path, undefined, CELERY), ...mognet] : mognet;
}

async function loadOne<App>(spec: string, kind: AppKind<App>): Promise<App> {
  const { path, exportName, exports } = await loadModule(spec);
  return pick(exports, path, exportName, kind);
}

function pick<App>(
  exports: Record<string, unknown>,
  path: string,
  exportName: string | undefined,
  kind: AppKind<App>,
): App {
  const { is, what, names } = kind;
  if (exportName !== undefined) {
    const found = exports[exportName];
    if (is(found)) return found;
    throw notAnApp(found, kind) ?? new ImproperlyConfigured(`${path} has no export ${exportName} that is a ${what}`);
  }
  for (const name of names) {
    const found = exports[name];
    if (is(found)) return found;
  }
  const values = Object.values(exports);
  const apps = values.filter(is);
  if (apps.length === 1) return apps[0]!;
  if (apps.length > 1) throw new ImproperlyConfigured(`${path} exports several ${what}s; name one: ${path}:name`);
  for (const value of values) {
    const strange = notAnApp(value, kind);
    if (strange !== null) throw strange;
  }
  throw new ImproperlyConfigured(`${path} exports no ${what}; export one as default or as "app"${otherKind(values)}`);
}

/** Whoever names the app of the other protocol is told which command is for it. */
function otherKind(values: readonly unknown[]): string {
  if (values.some((value) => value instanceof Mognet))
    return "; the Mognet app there is for: lovage mognet, lovage worker";
  return "";
}

/** What a child of a pool runs: the app of a module, or the tasks that a module without an app exports. */
export async function loadTasks(spec: string): Promise<{ app: Celery | null; tasks: AnyTask[] }> {
  const { path, exportName, exports } = await loadModule(spec);
  const values = Object.values(exports);
  const tasks = values.flat().filter(isTaskDefinition);
  const hasApp = values.some((value) => value instanceof Celery || notAnApp(value, CELERY) !== null);
  if (!hasApp && tasks.length > 0) return { app: null, tasks };
  const app = pick(exports, path, exportName, CELERY);
  return { app, tasks: [...app.tasks.values()] };
}

interface LoadedModule {
  path: string;
  exportName: string | undefined;
  exports: Record<string, unknown>;
}

async function loadModule(spec: string): Promise<LoadedModule> {
  if (spec.startsWith("file:"))
    return { path: spec, exportName: undefined, exports: unwrapped(await load(fileURLToPath(spec))) };
  const [, path = spec, exportName] = /^(.*?)(?::([A-Za-z_$][\w$]*))?$/.exec(spec) ?? [];
  return { path, exportName, exports: unwrapped(await load(locate(path))) };
}

/** `module.exports = { app }` of a CommonJS module arrives as its default export. */
function unwrapped(module: Record<string, unknown>): Record<string, unknown> {
  const whole = module.default;
  if (typeof whole !== "object" || whole === null || whole instanceof Celery || whole instanceof Mognet) return module;
  return { ...whole, ...module };
}

/** An app of another installation of Lovage: its classes are not ours. */
function notAnApp<App>(value: unknown, { is, className }: AppKind<App>): ImproperlyConfigured | null {
  if (typeof value !== "object" || value === null || is(value)) return null;
  if (value.constructor?.name !== className || !("consumerTransport" in value)) return null;
  return new ImproperlyConfigured(
    "the app was made with another installation of lovage than this command; run the project's own, as in: npx lovage …",
  );
}

type Found = "file" | "folder" | null;

function look(path: string): Found {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? null : stat.isDirectory() ? "folder" : "file";
}

function locate(path: string): string {
  const file = resolve(path);
  const there = look(file);
  if (there === "file") return file;
  const tried = there === "folder" ? ENDINGS.map((ending) => join(file, `index${ending}`)) : [];
  tried.push(...ENDINGS.map((ending) => file + ending));
  const found = tried.find((candidate) => look(candidate) === "file") ?? installed(path);
  if (found !== null) return found;
  const source = file.replace(/\.([cm]?)js$/, ".$1ts");
  const hint = source !== file && look(source) === "file" ? `; there is ${path.replace(/js$/, "ts")}` : "";
  throw new ImproperlyConfigured(`no such app module: ${path} (in ${process.cwd()})${hint}`);
}

/** The file that `a-package/app` names for modules of the working folder. */
function installed(specifier: string): string | null {
  if (/^[./\\]/.test(specifier)) return null;
  try {
    return createRequire(join(process.cwd(), "lovage-app.js")).resolve(specifier);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "MODULE_NOT_FOUND") return null;
    throw new ImproperlyConfigured(`${specifier}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function load(file: string): Promise<Record<string, unknown>> {
  const url = pathToFileURL(file).href;
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (error) {
    if (!/\.[cm]?ts$/.test(file) || !isUnknownExtension(error)) throw error;
  }
  await registerTsx(file);
  // Under its own name the module has failed for good.
  return (await import(`${url}?tsx`)) as Record<string, unknown>;
}

/** Node before 22.18 does not read TypeScript; tsx, when the project has it, teaches it to. */
async function registerTsx(file: string): Promise<void> {
  try {
    // Asked by `require` it answers with its CommonJS twin, which does not work from here.
    const api = createRequire(join(process.cwd(), "lovage-app.js"))
      .resolve("tsx/esm/api")
      .replace(/\.cjs$/, ".mjs");
    const tsx = (await import(pathToFileURL(api).href)) as { register(): void };
    tsx.register();
  } catch (cause) {
    throw new ImproperlyConfigured(
      `Node ${process.version} cannot load ${file} directly: use Node 22.18 or newer, install tsx, or compile it first`,
      { cause },
    );
  }
}

function isUnknownExtension(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_UNKNOWN_FILE_EXTENSION";
}
