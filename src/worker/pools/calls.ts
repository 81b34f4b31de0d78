/** What a task in a child asks of its worker: to send, to wait for what it sent, to store a state. The worker's side. */
import { readResultTuples } from "../../../protocol/celery/result-tuple.ts";
import { readSignature } from "../../../protocol/celery/signature.ts";
import { DecodeError } from "../../../protocol/errors.ts";
import { decodeJson, encodeJson } from "../../../protocol/json.ts";
import { isRecord } from "../../../protocol/records.ts";
import type { SentTask } from "../../tasks/context.ts";
import type { Outbox } from "../outbox.ts";
import type { Request } from "../request.ts";
import { addToChord, type ChordAdder } from "../workflow/add-to-chord.ts";
import { packError } from "./freight.ts";
import type { Answer, Call } from "./messages.ts";

export interface CallHost extends ChordAdder {
  readonly outbox: Outbox;
  updateState(request: Request, state: string, meta: unknown): Promise<void>;
  sendEvent(request: Request, type: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
}

export class Calls {
  readonly #host: CallHost;
  /** What a running task has sent, while it runs. */
  readonly #sent = new WeakMap<Request, Map<string, SentTask>>();

  constructor(host: CallHost) {
    this.#host = host;
  }

  async answer(request: Request, call: Call): Promise<Answer> {
    try {
      const given = decodeJson(call.json, { floats: "keep" });
      if (!isRecord(given)) throw new DecodeError("a call of a child without its arguments");
      const value = await this.#carryOut(request, call.method, given);
      return { ok: true, json: encodeJson(value ?? null) };
    } catch (error) {
      return { ok: false, error: packError(error) };
    }
  }

  async #carryOut(request: Request, method: Call["method"], given: Record<string, unknown>): Promise<unknown> {
    const { outbox } = this.#host;
    switch (method) {
      case "sendTask": {
        const { name, args, kwargs, options } = given;
        if (typeof name !== "string" || !Array.isArray(args) || !isRecord(kwargs)) throw broken(method);
        return this.#remember(request, await outbox.sendTask(name, args, kwargs, isRecord(options) ? options : {}));
      }
      case "apply":
        return this.#apply(request, given);
      case "get": {
        const { id, options } = given;
        const sent = typeof id === "string" ? this.#sent.get(request)?.get(id) : undefined;
        if (sent === undefined) throw broken(method);
        return sent.get(isRecord(options) ? options : {});
      }
      case "updateState": {
        const { state, meta, children } = given;
        if (typeof state !== "string") throw broken(method);
        request.children = readResultTuples(children);
        return this.#host.updateState(request, state, meta);
      }
      case "sendEvent": {
        const { type, fields } = given;
        if (typeof type !== "string" || !isRecord(fields)) throw broken(method);
        return this.#host.sendEvent(request, type, fields);
      }
      case "addPart":
        return addToChord(this.#host, request, readSignature(given.signature));
      default:
        throw broken(method);
    }
  }

  async #apply(request: Request, { signature }: Record<string, unknown>): Promise<unknown> {
    const { id, rootId, priority } = request.message;
    const { result, children } = await this.#host.outbox.apply(readSignature(signature), {
      parent: { id, rootId },
      priority: this.#host.inheritPriority ? priority : null,
    });
    return { result, children };
  }

  #remember(request: Request, sent: SentTask): string {
    let known = this.#sent.get(request);
    if (known === undefined) {
      known = new Map();
      this.#sent.set(request, known);
    }
    known.set(sent.id, sent);
    return sent.id;
  }
}

function broken(method: string): DecodeError {
  return new DecodeError(`a child's call of ${method} cannot be read`);
}

/** What a body has sent, told at its end. */
export function adoptChildren(request: Request, json: string): void {
  request.children = readResultTuples(decodeJson(json));
}
