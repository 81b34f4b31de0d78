/** Finds the app that `-A` names: a module, and in it the export that is a Celery app. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { Celery } from "../app.ts";

/** `./app.js`, `./app.ts` (where Node or an installed `tsx` can load it) or `./app.js:name` for one of several exports. */
export async function loadApp(spec: string): Promise<Celery> {
  const [, path = spec, exportName] = /^(.*?)(?::([A-Za-z_$][\w$]*))?$/.exec(spec) ?? [];
  const file = locate(path);
  const module = await load(file);
  if (exportName !== undefined) {
    const found = module[exportName];
    if (found instanceof Celery) return found;
    throw new ImproperlyConfigured(`${path} has no export ${exportName} that is a Celery app`);
  }
  for (const name of ["default", "app", "celery"]) {
    const found = module[name];
    if (found instanceof Celery) return found;
  }
  const apps = Object.values(module).filter((value) => value instanceof Celery);
  if (apps.length === 1) return apps[0]!;
  throw new ImproperlyConfigured(
    apps.length === 0
      ? `${path} exports no Celery app; export one as default or as "app"`
      : `${path} exports several Celery apps; name one: ${path}:name`,
  );
}

function locate(path: string): string {
  const file = resolve(path);
  if (existsSync(file)) return file;
  for (const ending of [".js", ".mjs", ".ts", ".mts"]) if (existsSync(file + ending)) return file + ending;
  throw new ImproperlyConfigured(`no such app module: ${path}`);
}

async function load(file: string): Promise<Record<string, unknown>> {
  const url = pathToFileURL(file).href;
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (error) {
    if (!/\.[cm]?ts$/.test(file) || !isUnknownExtension(error)) throw error;
  }
  // Node before 22.18 does not read TypeScript; tsx, when the project has it, does.
  try {
    const { tsImport } = (await import(pathToFileURL(resolve("node_modules/tsx/dist/esm/api/index.mjs")).href)) as {
      tsImport(specifier: string, parent: string): Promise<Record<string, unknown>>;
    };
    return await tsImport(url, import.meta.url);
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
