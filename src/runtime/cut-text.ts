/** Texts that strangers or tasks make are shown and stored up to a size, and say that they were cut. */

/** The text, or its first `most` characters and how many are missing. */
export function cutText(text: string, most: number): string {
  if (text.length <= most) return text;
  // Half of a surrogate pair is no text.
  const last = text.charCodeAt(most - 1);
  const end = last >= 0xd800 && last <= 0xdbff ? most - 1 : most;
  return `${text.slice(0, end)}… (${text.length - end} characters more)`;
}

/** Characters of an error's message, and of its stack, in a line of the log. */
const MESSAGE_IN_LOG = 8_192;
const STACK_IN_LOG = 65_536;

/** An error for the log: itself, or what stands for one that would fill it. Its causes are looked at too. Never throws. */
export function errorForLog(error: unknown): unknown {
  try {
    return short(error, 10);
  } catch {
    return error;
  }
}

function short(error: unknown, depth: number): unknown {
  if (typeof error === "string") return cutText(error, MESSAGE_IN_LOG);
  if (!(error instanceof Error) || depth === 0) return error;
  const { message, stack = "" } = error;
  const cause = error.cause === undefined ? undefined : short(error.cause, depth - 1);
  if (message.length <= MESSAGE_IN_LOG && stack.length <= STACK_IN_LOG && cause === error.cause) return error;
  const cut = new Error(cutText(message, MESSAGE_IN_LOG), cause === undefined ? {} : { cause });
  cut.name = error.name;
  // Of a long message the stack begins with all of it; where it was thrown stands at the end.
  const frames = message.length > MESSAGE_IN_LOG ? framesOf(stack, message) : stack;
  const head = frames === stack ? "" : `${error.name}: ${cut.message}`;
  cut.stack = head + cutText(frames, STACK_IN_LOG);
  return cut;
}

/** What follows the message in a stack. */
function framesOf(stack: string, message: string): string {
  const at = stack.indexOf(message);
  return at < 0 ? stack : stack.slice(at + message.length);
}
