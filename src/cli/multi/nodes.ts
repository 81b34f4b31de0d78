/**
 * What `lovage multi` is told: names of nodes, and options for all, for some, for one. wire: celery/apps/multi.py
 * `NamespacedOptionParser`, `MultiParser`.
 */
import { hostname } from "node:os";
import { nodeName } from "../../runtime/ids.ts";
import { didYouMean } from "../../settings/suggest.ts";
import { celeryOnlyFlag } from "../celery-only.ts";
import { type Flags, UsageError } from "../command.ts";

export interface Node {
  /** `celery1@host`. */
  readonly name: string;
  /** What stands before the `@`. */
  readonly short: string;
  /** Arguments of its `lovage worker`. */
  readonly args: readonly string[];
  readonly pidfile: string;
  readonly logfile: string;
}

/** Celery's `%n %N %h %d %p` of a text; `%i` and `%I` are left. wire: celery/apps/multi.py `build_expander`. */
export function expand(text: string, { name, short }: { name: string; short: string }): string {
  const known: Readonly<Record<string, string>> = {
    n: short,
    N: short,
    h: name,
    p: name,
    d: name.slice(name.indexOf("@") + 1),
    "%": "%",
  };
  return text.replace(/%([nNhpd%])/g, (_whole, letter: string) => known[letter] ?? "");
}

export interface Told {
  readonly nodes: readonly Node[];
  readonly json: boolean;
  readonly words: readonly string[];
}

interface Option {
  /** As written: `-c`, `--concurrency`. */
  readonly flag: string;
  readonly value: string | null;
  /** `1-3`, `1,2`, `image`; null: for all. */
  readonly only: string | null;
}

/** Options of multi's own. */
const OWN: Readonly<Record<string, boolean>> = {
  "--pidfile": true,
  "--logfile": true,
  "--range-prefix": true,
  "--hostname": true,
  "-H": true,
  "-n": true,
  "--prefix": true,
  "--suffix": true,
  "--json": false,
  "-j": false,
  // Celery's; there is none here.
  "--nosplash": false,
};

const MOST_NODES = 1_000;

export function readNodes(args: readonly string[], workerFlags: Flags): Told {
  const { words, options } = split(args, workerFlags);
  const own = (names: readonly string[], node?: { short: string; index: number }): string | null => {
    let found: string | null = null;
    for (const option of options) {
      if (names.includes(option.flag) && (option.only === null || (node !== undefined && isFor(option.only, node)))) {
        found = option.value ?? "";
      }
    }
    return found;
  };
  const range = own(["--range-prefix"]) ?? "celery";
  // wire: celery/apps/multi.py `MultiParser.parse`: -n is no node's name there.
  const host = own(["--suffix"]) ?? own(["--hostname", "-H", "-n"]) ?? hostname();
  const [first = ""] = words;
  const isCount = words.length === 1 && /^\d+$/.test(first);
  const prefix = isCount ? "" : (own(["--prefix"]) ?? "");
  // Celery says nothing, and starts none.
  if (words.length === 0)
    throw new UsageError("which nodes? Their names, or a number: 3 is celery1, celery2 and celery3");
  if (isCount && Number(first) === 0) throw new UsageError("0 is no number of nodes");
  if (isCount && Number(first) > MOST_NODES) throw new UsageError(`more than ${MOST_NODES} nodes`);
  const names = isCount ? Array.from({ length: Number(first) }, (_, index) => `${range}${index + 1}`) : words;
  for (const { flag, only } of options) {
    for (const part of only?.split(",") ?? []) {
      if (!isThere(part, names)) throw new UsageError(`${flag}:${only}: there is no node ${part}; ${there(names)}`);
    }
  }
  const nodes = names.map((given, index): Node => {
    const name = nodeName(given.includes("@") ? given : `${prefix}${given}@${host}`);
    const short = name.split("@", 1)[0] ?? name;
    const self = { short: given, index: index + 1 };
    // A worker here is one process: Celery's process index is empty.
    const expanded = (path: string) => expand(path, { name, short }).replaceAll(/%[iI]/g, "");
    const mine = new Map<string, string[]>();
    for (const { flag, value, only } of options) {
      if (Object.hasOwn(OWN, flag) || (only !== null && !isFor(only, self))) continue;
      mine.set(flag, value === null ? [flag] : [flag, expanded(value)]);
    }
    return {
      name,
      short,
      args: [...mine.values()].flat(),
      pidfile: expanded(own(["--pidfile"], self) ?? "%n.pid"),
      logfile: expanded(own(["--logfile"], self) ?? "%n.log"),
    };
  });
  return { nodes, words, json: own(["--json", "-j"]) !== null };
}

function split(args: readonly string[], workerFlags: Flags): { words: string[]; options: Option[] } {
  const words: string[] = [];
  const options: Option[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (!arg.startsWith("-") || arg === "-") {
      words.push(arg);
      continue;
    }
    const equals = arg.indexOf("=");
    const head = equals < 0 ? arg : arg.slice(0, equals);
    const colon = head.indexOf(":");
    const flag = colon < 0 ? head : head.slice(0, colon);
    const only = colon < 0 ? null : head.slice(colon + 1);
    if (only === "") throw new UsageError(`${arg}: which nodes?`);
    const takesValue = valueOf(flag, workerFlags);
    if (!takesValue) options.push({ flag, only, value: null });
    else if (equals >= 0) options.push({ flag, only, value: arg.slice(equals + 1) });
    else if (index + 1 < args.length) options.push({ flag, only, value: args[++index]! });
    else throw new UsageError(`${flag} needs a value`);
  }
  return { words, options };
}

function valueOf(flag: string, workerFlags: Flags): boolean {
  const own = Object.hasOwn(OWN, flag) ? OWN[flag] : undefined;
  if (own !== undefined) return own;
  for (const [name, { type, short }] of Object.entries(workerFlags)) {
    if (flag === `--${name}` || (short !== undefined && flag === `-${short}`)) return type === "string";
  }
  const known = [...Object.keys(OWN), ...Object.keys(workerFlags).map((name) => `--${name}`)];
  throw new UsageError(
    celeryOnlyFlag(flag, "worker") ?? `no such option of a worker: ${flag}${didYouMean(flag, known)}`,
  );
}

function isThere(part: string, names: readonly string[]): boolean {
  const range = /^(\d+)-(\d+)$/.exec(part);
  // Both ends: a range that reaches beyond the last node is meant for more nodes than there are.
  const indices = range === null ? (/^\d+$/.test(part) ? [Number(part)] : []) : [Number(range[1]), Number(range[2])];
  if (indices.length === 0) return names.some((short, index) => isFor(part, { short, index: index + 1 }));
  return indices.every((index) => index >= 1 && index <= names.length) && indices[0]! <= (indices[1] ?? indices[0]!);
}

function there(names: readonly string[]): string {
  const few = names.slice(0, 5).join(", ");
  return names.length > 5 ? `there are ${names.length}: ${few}, …` : `there are: ${few}`;
}

/** `1-3`, `1,4`, `image,video`, `image@host`. */
function isFor(only: string, { short, index }: { short: string; index: number }): boolean {
  return only.split(",").some((part) => {
    const range = /^(\d+)-(\d+)$/.exec(part);
    if (range !== null) return index >= Number(range[1]) && index <= Number(range[2]);
    return /^\d+$/.test(part) ? Number(part) === index : part === short || part === short.split("@", 1)[0];
  });
}
