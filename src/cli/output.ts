/** Where a command prints, and how the process ends. */

/** How long what the app's own modules left open may keep a finished command alive. */
const LINGER_MS = 500;

let broken: () => void = () => process.exit(1);

/** A reader that has gone (`lovage list tasks | head -1`) ends a command quietly, as Celery's. */
export function guardOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // EIO: of a terminal that has gone.
    if (error.code === "EPIPE" || error.code === "EIO") broken();
    else process.exit(1);
  });
  // A log that nobody reads any more is no reason to stop.
  process.stderr.on("error", () => undefined);
}

/** For a worker: tasks may print, and that nobody reads it must not end them. */
export function bearBrokenOutput(): void {
  broken = () => undefined;
}

/** For what goes on until it is ended: a reader that has gone ends it. */
export function onBrokenOutput(end: () => void): void {
  broken = end;
}

/** Prints a line of result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Says something to the person at the terminal. */
export function complain(text: string): void {
  process.stderr.write(text);
}

/** Lets the process end by itself; what an app module left open (a pool, a timer) does not hold it for long. */
export function endWith(code: number): void {
  process.exitCode = code;
  setTimeout(() => process.exit(code), LINGER_MS).unref();
}
