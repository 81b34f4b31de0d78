/** What a Mognet task in a child asks of its worker: the result store, its state, submits, waits. The worker's side. */
import { DecodeError } from "../../../../protocol/errors.ts";
import { decodePlainJson } from "../../../../protocol/mognet/json.ts";
import { encodeCompactJson } from "../../../../protocol/mognet/json-text.ts";
import { isRecord } from "../../../../protocol/records.ts";
import type { MognetStore } from "../../../result-backends/mognet/mognet-store.ts";
import { Request, type RequestParts } from "../../../tasks/mognet-request.ts";
import type { Answer, Call } from "../../pools/messages.ts";
import type { MognetWorkerParts } from "../parts.ts";
import type { Run } from "../run.ts";
import { packFault } from "./faults.ts";

type Tell = (json: string) => void;

export class MognetCalls {
  readonly #parts: Pick<MognetWorkerParts, "store" | "outbox">;
  readonly #adjust: (run: Run) => Promise<void>;
  /** Ends the waits of a body that has ended. */
  readonly #ends = new WeakMap<Run, AbortController>();

  constructor(parts: Pick<MognetWorkerParts, "store" | "outbox">, adjust: (run: Run) => Promise<void>) {
    this.#parts = parts;
    this.#adjust = adjust;
  }

  async answer(run: Run, { method, json }: Call, tell: Tell): Promise<Answer> {
    try {
      const given = decodePlainJson(json, { floats: "keep" });
      const value = await this.#carryOut(run, method, Array.isArray(given) ? given : [], tell);
      // What is not there is not null.
      return { ok: true, json: encodeCompactJson(value === undefined ? [] : [value]) };
    } catch (error) {
      return { ok: false, error: packFault(error, run.id) };
    }
  }

  /** The body has ended, or its run is over. */
  forget(run: Run): void {
    this.#ends.get(run)?.abort();
    this.#ends.delete(run);
  }

  #carryOut(run: Run, method: Call["method"], given: readonly unknown[], tell: Tell): Promise<unknown> {
    const { outbox } = this.#parts;
    switch (method) {
      case "store":
        return this.#ask(run, given, tell);
      case "submit": {
        const [parts] = given;
        if (!isRecord(parts)) throw broken(method);
        return outbox.submit(requestOf(parts), run.context).then(({ id }) => id);
      }
      case "revoke":
        return outbox.revoke(String(given[0]), given[1] === true).then(() => null);
      case "adjust": {
        const [dependencies] = given;
        if (!Number.isSafeInteger(dependencies)) throw broken(method);
        run.dependencies = Number(dependencies);
        return this.#adjust(run);
      }
      default:
        throw broken(method);
    }
  }

  #ask(run: Run, [name, ...args]: readonly unknown[], tell: Tell): Promise<unknown> {
    const { store } = this.#parts;
    switch (name) {
      case "waitFor":
        return store.waitFor(idIn(args), this.#waitOptions(run, args[1], tell));
      case "childIds":
        return collected(store.childIds(idIn(args), limitIn(args[1])));
      default: {
        const ask = typeof name === "string" && Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined;
        if (ask === undefined) throw broken(`store.${String(name)}`);
        return ask(store, idIn(args), args);
      }
    }
  }

  #waitOptions(run: Run, given: unknown, tell: Tell) {
    const { value = false, lostAfter = null, updates = false } = isRecord(given) ? given : {};
    let end = this.#ends.get(run);
    if (end === undefined) {
      end = new AbortController();
      this.#ends.set(run, end);
    }
    return {
      signal: end.signal,
      value: value === true,
      lostAfter: typeof lostAfter === "number" ? lostAfter : null,
      ...(updates === true ? { onUpdate: (result: object) => tell(encodeCompactJson(result)) } : {}),
    };
  }
}

type Ask = (store: MognetStore, id: string, args: readonly unknown[]) => Promise<unknown>;

const PLAIN: Readonly<Record<string, Ask>> = {
  get: (store, id) => store.get(id),
  getMany: (store, _id, [ids]) => store.getMany(Array.isArray(ids) ? ids.map(String) : []),
  getOrCreate: (store, id) => store.getOrCreate(id),
  getValue: (store, id) => store.getValue(id),
  countChildren: (store, id) => store.countChildren(id),
  getMetadata: (store, id) => store.getMetadata(id),
  setMetadata: (store, id, [, metadata]) => store.setMetadata(id, isRecord(metadata) ? metadata : {}),
  delete: (store, id, [, options]) => store.delete(id, treeIn(options)),
  setTtl: (store, id, [, seconds, options]) => store.setTtl(id, Number(seconds), treeIn(options)),
  "state.get": (store, id, [, key]) => store.state.get(id, String(key)),
  "state.set": (store, id, [, key, value]) => store.state.set(id, String(key), value),
  "state.pop": (store, id, [, key]) => store.state.pop(id, String(key)),
  "state.clear": (store, id) => store.state.clear(id),
};

function idIn([id]: readonly unknown[]): string {
  return typeof id === "string" ? id : "";
}

function treeIn(options: unknown): { includeChildren?: boolean } {
  return isRecord(options) && typeof options.includeChildren === "boolean"
    ? { includeChildren: options.includeChildren }
    : {};
}

function limitIn(options: unknown): { limit?: number } {
  return isRecord(options) && typeof options.limit === "number" ? { limit: options.limit } : {};
}

async function collected(ids: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const id of ids) all.push(id);
  return all;
}

/** As the child made and checked it. */
function requestOf(parts: Record<string, unknown>): Request {
  const { deadline } = parts;
  const given: Record<string, unknown> = { ...parts };
  if (isRecord(deadline) && deadline.kind === "duration")
    given.deadline = { ...deadline, seconds: Number(deadline.seconds) };
  return new Request(given as RequestParts & Record<string, unknown>);
}

function broken(method: string): DecodeError {
  return new DecodeError(`a child's call of ${method} cannot be read`);
}
