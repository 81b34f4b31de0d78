/** The live view of `lovage events`: draws the fleet as it changes, and does what the keys say. */
import { emitKeypressEvents, type Key } from "node:readline";
import type { Celery } from "../../app.ts";
import { State } from "../../events/state.ts";
import { holdOutput } from "./held-output.ts";
import { HELP, type Place, screenLines, shownTasks } from "./screen.ts";

/** A screen of its own, without the cursor, where what is too wide is cut and not wrapped. */
const ENTER = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const LEAVE = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const TO_END_OF_LINE = "\u001b[K";
/** Milliseconds between drawings; heartbeats age also where nothing comes in. */
const DRAW_EVERY = 250;
/** Every so many drawings all is drawn again: what wrote past us into the terminal does not stay. */
const WHOLE_EVERY = 4;
/** Milliseconds that a log line stands at least. */
const SAID_MS = 5_000;
const WAITING = "waiting for the broker";

/** Resolves when the person leaves, or `stop` aborts; with true when the terminal is there no more. */
export async function liveView(app: Celery, stop: AbortController, begun: () => Promise<void>): Promise<boolean> {
  const view = new LiveView(app, stop, begun);
  await view.run();
  return view.gone;
}

export class LiveView {
  readonly #app: Celery;
  readonly #stop: AbortController;
  readonly #begun: () => Promise<void>;
  readonly #state = new State();
  readonly place: Place = { chosen: null, filter: "", prompt: null, notice: "", help: false };
  /** The terminal is there no more. */
  gone = false;
  #showsInfo = false;
  #answer: ((text: string) => void) | null = null;
  #last = "";
  #waiting = false;
  /** What the log said last. */
  #said = { notice: "", at: 0 };
  #write: (text: string) => void = () => undefined;

  constructor(app: Celery, stop: AbortController, begun: () => Promise<void>) {
    this.#app = app;
    this.#stop = stop;
    this.#begun = begun;
  }

  async run(): Promise<void> {
    const { stdin, stdout } = process;
    const { signal } = this.#stop;
    const onKey = (text: string | undefined, key: Key) => this.press(text ?? "", key);
    const again = () => {
      this.#last = "";
      this.#draw();
    };
    const held = holdOutput((line) => {
      this.place.notice = this.#waiting ? `${WAITING}: ${line}` : line;
      this.#said = { notice: this.place.notice, at: performance.now() };
      this.#last = "";
    });
    this.#write = held.write;
    // A terminal that has gone can neither be read nor set.
    const onGone = () => {
      this.gone = true;
      this.#stop.abort();
    };
    stdin.on("error", onGone).on("end", onGone);
    const restore = () => {
      if (this.gone) return;
      stdin.setRawMode(false);
      if (!this.gone) held.write(LEAVE);
    };
    emitKeypressEvents(stdin);
    stdin.setRawMode(true);
    stdin.resume();
    stdin.on("keypress", onKey);
    stdout.on("resize", again);
    process.on("SIGCONT", again);
    // Also where a second signal ends the process at once.
    process.on("exit", restore);
    held.write(ENTER);
    let drawings = 0;
    const timer = setInterval(() => {
      if (++drawings % WHOLE_EVERY === 0) this.#last = "";
      this.#draw();
    }, DRAW_EVERY);
    try {
      this.#waiting = true;
      this.place.notice = WAITING;
      this.#draw();
      const stream = await this.#app.events.receive({ signal }).start();
      if (signal.aborted) return;
      await this.#begun();
      this.#waiting = false;
      if (this.place.notice.startsWith(WAITING)) this.place.notice = "";
      for await (const event of stream) {
        this.#state.event(event);
        this.#forget();
      }
    } finally {
      clearInterval(timer);
      this.#write = () => undefined;
      stdin.off("keypress", onKey);
      stdout.off("resize", again);
      process.off("SIGCONT", again);
      stdin.off("end", onGone);
      process.off("exit", restore);
      stdin.pause();
      restore();
      held.release();
    }
  }

  /** Where events come in, a connection that was lost is there again. */
  #forget(): void {
    const { notice, at } = this.#said;
    if (notice === "" || performance.now() - at < SAID_MS) return;
    if (this.place.notice === notice) this.place.notice = "";
    this.#said = { notice: "", at: 0 };
  }

  #draw(): void {
    const { columns = 80, rows = 24 } = process.stdout;
    const info =
      this.#showsInfo && this.place.chosen !== null ? (this.#state.tasks.get(this.place.chosen) ?? null) : null;
    const text = screenLines(this.#state, this.place, { columns, rows }, info)
      .map((line) => line + TO_END_OF_LINE)
      .join("\r\n");
    if (text === this.#last) return;
    this.#last = text;
    this.#write(HOME + text);
  }

  /** With the help open a key closes it and does nothing else: what it would change cannot be seen. */
  press(text: string, key: Key): void {
    if (key.ctrl === true && key.name === "c") return this.#stop.abort();
    if (this.place.help) this.place.help = false;
    else if (this.place.prompt !== null) this.#type(text, key);
    else this.#command(text, key);
    this.#draw();
  }

  #type(text: string, key: Key): void {
    const { prompt } = this.place;
    if (prompt === null) return;
    if (key.name === "return" || key.name === "enter") {
      this.place.prompt = null;
      this.#answer?.(prompt.text);
    } else if (key.name === "escape") this.place.prompt = null;
    else if (key.name === "backspace") prompt.text = [...prompt.text].slice(0, -1).join("");
    else if (key.ctrl !== true && /^[\x20-\x7e]$/.test(text)) prompt.text += text;
  }

  #command(text: string, key: Key): void {
    if (key.name === "up") return this.#move(-1);
    if (key.name === "down") return this.#move(1);
    switch (text) {
      case "q":
        return this.#stop.abort();
      case "?":
        this.place.help = true;
        return;
      case "k":
        return this.#move(-1);
      case "j":
        return this.#move(1);
      case "i":
        this.#showsInfo = !this.#showsInfo && this.place.chosen !== null;
        return;
      case "/":
        return this.#ask("filter", this.place.filter, (filter) => {
          this.place.filter = filter;
        });
      case "e":
        return this.#do("task events enabled", this.#app.control.enableEvents());
      case "r":
      case "t":
        return this.#revoke(text === "t");
      case "l":
        return this.#limit();
      default:
        this.place.notice = text.trim() === "" ? "" : `no such key; ? shows the ${HELP.length} there are`;
    }
  }

  #move(by: number): void {
    const tasks = shownTasks(this.#state, this.place.filter, 1_000);
    const at = tasks.findIndex(({ uuid }) => uuid === this.place.chosen);
    const next = at < 0 ? 0 : Math.min(tasks.length - 1, Math.max(0, at + by));
    this.place.chosen = tasks[next]?.uuid ?? null;
  }

  #revoke(terminate: boolean): void {
    const { chosen } = this.place;
    if (chosen === null) {
      this.place.notice = "choose a task first (up, down)";
      return;
    }
    this.#do(`${terminate ? "terminated" : "revoked"} ${chosen}`, this.#app.control.revoke(chosen, { terminate }));
  }

  #limit(): void {
    const { chosen } = this.place;
    const name = chosen === null ? null : this.#state.tasks.get(chosen)?.name;
    if (!name) {
      this.place.notice = "choose a task first (up, down)";
      return;
    }
    this.#ask(`rate limit of ${name}, such as 10/m (0: none)`, "", (rate) => {
      this.place.notice = `rate limit of ${name}: …`;
      this.#app.control.rateLimit(name, rate, { reply: true }).then(
        (replies) => {
          const answers = (replies ?? []).flatMap((reply) => Object.entries(reply));
          const said = answers.map(([node, answer]) => `${node}: ${Object.values(Object(answer)).join(" ")}`);
          this.place.notice = said.length === 0 ? "no worker answered" : said.join("; ");
        },
        (error: unknown) => this.#failed(error),
      );
    });
  }

  #ask(label: string, text: string, answer: (text: string) => void): void {
    this.place.prompt = { label, text };
    this.#answer = answer;
  }

  #do(done: string, act: Promise<unknown>): void {
    act.then(
      () => {
        this.place.notice = done;
      },
      (error: unknown) => this.#failed(error),
    );
  }

  #failed(error: unknown): void {
    this.place.notice = error instanceof Error ? error.message : String(error);
  }
}
