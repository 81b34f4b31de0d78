/** `--text-label-format`: the part of Python's `str.format` that labels need. wire: mognet/cli/tasks.py, mognet/model/result_tree.py `dict`. */
import { pyRepr } from "../../../protocol/python-repr.ts";
import type { Result } from "../../client/mognet/result.ts";
import { didYouMean } from "../../settings/suggest.ts";
import { UsageError } from "../command.ts";
import { pythonTime } from "./table.ts";

/** Columns of one field. */
const WIDEST = 1_000;

export const DEFAULT_LABEL = "{name}(id={id!r}, state={state!r})";

interface Field {
  text: string | null;
  repr: string;
}

type Read = (result: Result) => Field;

const plain = (value: string | number | null): Field => ({
  text: value === null ? null : String(value),
  repr: value === null ? "None" : pyRepr(value),
});
const uuid = (id: string | null): Field => (id === null ? plain(null) : { text: id, repr: `UUID('${id}')` });
const time = (iso: string | null): Field => plain(pythonTime(iso));

const FIELDS: ReadonlyMap<string, Read> = new Map<string, Read>([
  ["id", ({ id }) => uuid(id)],
  ["name", ({ name }) => plain(name)],
  ["state", ({ state }) => ({ text: `ResultState.${state}`, repr: `'${state}'` })],
  ["created", ({ record }) => time(record.created)],
  ["started", ({ record }) => time(record.started)],
  ["finished", ({ record }) => time(record.finished)],
  ["node_id", ({ nodeId }) => plain(nodeId)],
  ["parent_id", ({ parentId }) => uuid(parentId)],
  ["number_of_starts", ({ numberOfStarts }) => plain(numberOfStarts)],
  ["number_of_stops", ({ numberOfStops }) => plain(numberOfStops)],
  ["retry_count", ({ unexpectedRetryCount }) => plain(unexpectedRetryCount)],
  ["request_kwargs_repr", ({ requestKwargsRepr }) => plain(requestKwargsRepr)],
]);

/** Throws `UsageError` for a field that is none. */
export function labelFormat(format: string): (result: Result) => string {
  const parts: (string | ((result: Result) => string))[] = [];
  let at = 0;
  for (const match of format.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g)) {
    parts.push(format.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[0] === "{{" || match[0] === "}}") parts.push(match[0].slice(1));
    else if (match[1] === undefined) throw new UsageError(`--text-label-format: a single ${match[0]}`);
    else parts.push(fieldOf(match[1]));
  }
  parts.push(format.slice(at));
  return (result) => parts.map((part) => (typeof part === "string" ? part : part(result))).join("");
}

function fieldOf(spec: string): (result: Result) => string {
  const [, name = spec, conversion, format = ""] = /^([^!:]*)(?:!([rs]))?(?::(.*))?$/s.exec(spec) ?? [];
  const read = FIELDS.get(name);
  const place = placeOf(format);
  if (read === undefined) {
    throw new UsageError(
      `--text-label-format: no such field: {${spec}}${didYouMean(name, FIELDS.keys())} (${[...FIELDS.keys()].join(", ")})`,
    );
  }
  return (result) => {
    const { text, repr } = read(result);
    return place(conversion === "r" ? repr : (text ?? "None"));
  };
}

/** What of Python's format specifications texts have: fill, alignment, width and precision. */
function placeOf(format: string): (text: string) => string {
  const found = /^(?:(.)?([<>^]))?(\d+)?(?:\.(\d+))?s?$/su.exec(format);
  if (found === null) throw new UsageError(`--text-label-format: no such format: ${format} (such as >20, *^20 or .8)`);
  const [, fill = " ", align = "<"] = found;
  const [width, most] = [Number(found[3] ?? 0), Number(found[4] ?? Number.POSITIVE_INFINITY)];
  if (width > WIDEST) throw new UsageError(`--text-label-format: wider than ${WIDEST}: ${format}`);
  return (text) => {
    const characters = [...text].slice(0, most);
    const free = Math.max(0, width - characters.length);
    const before = align === ">" ? free : align === "^" ? Math.floor(free / 2) : 0;
    return fill.repeat(before) + characters.join("") + fill.repeat(free - before);
  };
}
