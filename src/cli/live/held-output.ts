/** While the live view has the terminal, what else would be written into it (the app's log, a module's print) goes to the view. */
import { stripVTControlCharacters } from "node:util";

export interface HeldOutput {
  /** Writes to the terminal all the same. */
  readonly write: (text: string) => void;
  /** Writes go where they went before. */
  readonly release: () => void;
}

type Stream = Pick<NodeJS.WriteStream, "write" | "isTTY">;

/** `onLine` has what was last written, as one short line. Streams that are no terminal are left alone. */
export function holdOutput(
  onLine: (line: string) => void,
  streams: { stdout: Stream; stderr: Stream } = process,
): HeldOutput {
  const { stdout, stderr } = streams;
  const through = stdout.write;
  const held = [stdout, stderr].filter(({ isTTY }) => isTTY === true);
  const before = held.map(({ write }) => write);
  for (const stream of held) {
    stream.write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
      const line = shortLine(typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk));
      if (line !== "") onLine(line);
      const done = rest.at(-1);
      if (typeof done === "function") queueMicrotask(() => done());
      return true;
    };
  }
  return {
    write: (text) => void through.call(stdout, text),
    release: () => {
      for (const [index, stream] of held.entries()) stream.write = before[index] ?? stream.write;
    },
  };
}

/** The first line without colours and without the log's time: `no connection to the broker; trying again: …`. */
export function shortLine(text: string): string {
  const [first = ""] = stripVTControlCharacters(text).trim().split("\n");
  return first.replace(/^\[[^\]]*: [A-Z]+\] /, "").trimEnd();
}
