/** The pieces that the shapes are made of. */
import type { Shape } from "../shape.ts";

type More = Pick<Shape, "link" | "linkError" | "options" | "stamp"> & { readonly immutable?: boolean };

export const add = (...args: readonly number[]): Shape => ({ task: "add", args });
export const sum: Shape = { task: "sum" };
export const twice: Shape = { task: "twice" };
export const echo: Shape = { task: "echo" };
export const fail: Shape = { task: "fail" };
export const failing = (text: string): Shape => ({ task: "fail", kwargs: { text } });
export const again = (...args: readonly number[]): Shape => ({ task: "again", args });
export const giveUp: Shape = { task: "give_up" };
/** Called by message with the id of what failed. */
export const errback: Shape = { task: "on_error" };
/** Called in the process of what failed, with request, exception and traceback. */
export const inlineErrback: Shape = { task: "on_error_inline" };
export const become = (into: Shape): Shape => ({ task: "become", shapes: { into } });

export const chain = (...parts: readonly Shape[]): Shape => ({ chain: parts });
export const pipe = (...parts: readonly Shape[]): Shape => ({ pipe: parts });
export const group = (...parts: readonly Shape[]): Shape => ({ group: parts });
export const chord = (header: readonly Shape[], body: Shape): Shape => ({ chord: header, body });
export const having = (shape: Shape, more: More): Shape => ({ ...shape, ...more });
export const immutable = (shape: Shape): Shape => having(shape, { immutable: true });
