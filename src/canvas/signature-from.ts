/** Signatures by name, and those that others made. */
import { readSignature } from "../../protocol/celery/signature.ts";
import { isRecord } from "../../protocol/records.ts";
import { mismatch } from "../settings/kinds.ts";
import { checkOptionObject } from "../settings/option-object.ts";
import type { SignatureParts } from "../tasks/definition.ts";
import { ownData } from "../tasks/own-data.ts";
import { SIGNATURE_PARTS, Signature, taskSignature, wireOf } from "../tasks/signature.ts";
import type { Shape } from "../tasks/signature-types.ts";

/** A signature of which nothing is known: anything may come in front, and it may give anything. */
export type LooseSignature = Signature<unknown[], unknown, Shape>;

/** A task by its name, wherever it is defined: `signature("tasks.add", { args: [2, 2] })`. */
export function signature(
  task: string | { readonly name: string },
  parts: SignatureParts = {},
): Signature<unknown[], unknown> {
  const name: unknown = typeof task === "string" ? task : task?.name;
  if (typeof name !== "string" || name === "")
    throw mismatch("signature(): the task", "a task or the name of one", task);
  checkOptionObject(parts, SIGNATURE_PARTS, `signature() of ${name}`);
  const { args, kwargs, options, immutable } = parts;
  const made = new Signature<unknown[]>(taskSignature(name, args, kwargs, immutable));
  return options === undefined ? made : made.set(options);
}

/**
 * A signature from its JSON, such as Python sends it. It is written back as it came, members that Lovage does not know included.
 * Throws `InvalidTaskError` for what is none.
 */
export function signatureFrom(json: unknown): LooseSignature {
  const own = ownData(json instanceof Signature ? wireOf(json, "signatureFrom()") : json);
  const read = readSignature(own);
  return new Signature(isRecord(own) ? Object.assign(own, read) : read);
}
