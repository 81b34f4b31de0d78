/**
 * Settings from the environment, from code and from a JSON file that Python can load too.
 * First found wins: `LOVAGE_<NAME>`, `CELERY_<NAME>`, code, file, default. A wrong name or value is an error where only
 * Lovage reads the source (code, `LOVAGE_`); what Celery knows and Lovage does not is a notice where Python shares it.
 */
import { readFileSync } from "node:fs";
import { DecodeError, ImproperlyConfigured } from "../../protocol/errors.ts";
import { decodeJson } from "../../protocol/json.ts";
import { CELERY_SETTINGS, newName } from "./celery-names.ts";
import { isPlainObject, UnsupportedValue } from "./kinds.ts";
import { didYouMean } from "./suggest.ts";
import { isSettingName, SETTING_NAMES, type SettingName, type Settings, type SettingsInput, TABLE } from "./table.ts";

export type { SettingName, Settings, SettingsInput } from "./table.ts";

export interface SettingsSources {
  code?: SettingsInput;
  /** Path of a JSON file: one object of settings. */
  file?: string;
  /** @default process.env */
  env?: NodeJS.ProcessEnv;
  /** `LOVAGE_` variables that are read elsewhere and are no settings. */
  otherEnv?: readonly string[];
}

export interface ParsedSettings {
  readonly settings: Settings;
  /** What was passed over because Lovage does not have it, as sentences for the log. */
  readonly notices: readonly string[];
  /** Where each setting that is not a default came from; `inspect conf` shows these. */
  readonly given: ReadonlyMap<SettingName, string>;
}

/** The environment variable of a setting: `LOVAGE_BROKER_URL`; Lovage's own are not doubled (`lovage_declare`: `LOVAGE_DECLARE`). */
export function envName(name: SettingName): string {
  return `LOVAGE_${name.replace(/^lovage_/, "").toUpperCase()}`;
}

const BY_ENV_NAME: ReadonlyMap<string, SettingName> = new Map(SETTING_NAMES.map((name) => [envName(name), name]));

/** Throws `ImproperlyConfigured` for an unknown or mistyped setting, with the name it may have been meant for. */
export function parseSettings(sources: SettingsSources = {}): ParsedSettings {
  const reading = new Reading();
  // Lowest first: a later source overwrites.
  if (sources.file !== undefined) reading.object(readFile(sources.file), `file ${sources.file}`, true);
  if (sources.code !== undefined) reading.object({ ...sources.code }, "code", false);
  reading.environment(sources.env ?? process.env, new Set(sources.otherEnv));
  return reading.finish();
}

function readFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ImproperlyConfigured(`cannot read settings from ${path}: ${reason}`, { cause });
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // V8 quotes the text around the mistake, which may be a password; our reader says where it is.
    throw new ImproperlyConfigured(`cannot read settings from ${path}: ${jsonMistake(text)}`);
  }
  if (!isPlainObject(content)) throw new ImproperlyConfigured(`${path} must hold one JSON object of settings`);
  return content;
}

function jsonMistake(text: string): string {
  try {
    decodeJson(text);
  } catch (error) {
    if (error instanceof DecodeError) return error.message;
  }
  return "it is not JSON";
}

class Reading {
  readonly #values = new Map<SettingName, unknown>();
  readonly #given = new Map<SettingName, string>();
  readonly #notices: string[] = [];

  object(members: Readonly<Record<string, unknown>>, from: string, shared: boolean): void {
    for (const [name, value] of Object.entries(members)) {
      if (value === undefined) continue;
      if (isSettingName(name)) this.#take(name, value, from, shared);
      else this.#unknown(name, from, shared);
    }
  }

  environment(env: NodeJS.ProcessEnv, others: ReadonlySet<string>): void {
    const late: [SettingName, string, string][] = [];
    for (const [variable, content] of Object.entries(env)) {
      // An empty variable is an unset one, as for Celery.
      if (content === undefined || content === "") continue;
      if (variable.startsWith("CELERY_")) this.#celeryVariable(variable, content);
      if (!variable.startsWith("LOVAGE_") || others.has(variable)) continue;
      if (/^LOVAGE_(TEST|BENCH|MOGNET)_/.test(variable)) continue;
      const name = BY_ENV_NAME.get(variable);
      if (name === undefined) this.#unknownVariable(variable);
      else late.push([name, variable, content]);
    }
    for (const [name, variable, content] of late) {
      this.#take(name, TABLE[name].kind.fromText(content), `environment ${variable}`, false);
    }
  }

  finish(): ParsedSettings {
    const settings: Record<string, unknown> = {};
    for (const name of SETTING_NAMES) {
      settings[name] = this.#values.has(name) ? this.#values.get(name) : TABLE[name].default;
    }
    if (!isComplete(settings)) throw new ImproperlyConfigured("a setting of the table was not read");
    return { settings: Object.freeze(settings), notices: this.#notices, given: this.#given };
  }

  #take(name: SettingName, value: unknown, from: string, shared: boolean): void {
    const at = `setting ${name} (${from})`;
    try {
      this.#values.set(name, TABLE[name].kind.parse(value, at));
      this.#given.set(name, from);
    } catch (error) {
      if (!(shared && error instanceof UnsupportedValue)) throw error;
      this.#notices.push(`${error.message}; the setting is passed over`);
    }
  }

  #celeryVariable(variable: string, content: string): void {
    const name = variable.slice("CELERY_".length).toLowerCase();
    const from = `environment ${variable}`;
    if (isSettingName(name) && !name.startsWith("lovage_")) {
      this.#take(name, TABLE[name].kind.fromText(content), from, true);
    } else if (CELERY_SETTINGS.has(name)) {
      this.#notices.push(unsupported(name, from));
    }
  }

  #unknown(name: string, from: string, shared: boolean): void {
    if (CELERY_SETTINGS.has(name)) {
      if (!shared) throw new ImproperlyConfigured(unsupported(name, from));
      this.#notices.push(unsupported(name, from));
      return;
    }
    const today = newName(name);
    const hint = today === null ? didYouMean(name, SETTING_NAMES) : `; its name today is ${JSON.stringify(today)}`;
    throw new ImproperlyConfigured(`unknown setting ${JSON.stringify(name)} (${from})${hint}`);
  }

  #unknownVariable(variable: string): never {
    const name = variable.slice("LOVAGE_".length).toLowerCase();
    const from = `environment ${variable}`;
    if (CELERY_SETTINGS.has(name)) throw new ImproperlyConfigured(unsupported(name, from));
    throw new ImproperlyConfigured(`unknown setting (${from})${didYouMean(variable, BY_ENV_NAME.keys())}`);
  }
}

function unsupported(name: string, from: string): string {
  return `setting ${name} (${from}) is Celery's, and Lovage does not support it in this version`;
}

function isComplete(settings: Record<string, unknown>): settings is { [K in SettingName]: Settings[K] } {
  return SETTING_NAMES.every((name) => name in settings);
}
