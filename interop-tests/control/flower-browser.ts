/**
 * A headless Chromium for the tests that look at web pages. It is steered over two pipes (`--remote-debugging-pipe`: JSON
 * messages ended by a zero byte, https://chromedevtools.github.io/devtools-protocol/), so that no port is open and no package is
 * needed; it ends when the pipes close, and so with us.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Readable, Writable } from "node:stream";
import { findProgram, HarnessError, type TempFolder, tempFolder, waitFor, within } from "../../src/testing/index.ts";
import { guardGroup } from "../../src/testing/process-guard.ts";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** LOVAGE_TEST_BROWSER, or the first that is installed. */
export function findBrowser(): string | undefined {
  return process.env.LOVAGE_TEST_BROWSER || names.map((name) => findProgram(name)).find(Boolean);
}

type Fields = Record<string, unknown>;

interface Waiting {
  resolve: (result: Fields) => void;
  reject: (error: Error) => void;
}

const answerMs = 30_000;
const window = { width: 1280, height: 900 };

export class Browser implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: TempFolder;
  readonly #ended: Promise<void>;
  readonly #guard: { dismiss(): void };
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(method: string, params: Fields, session: string | undefined) => void>();
  #text = "";
  #lastId = 0;

  static async start(program = findBrowser()): Promise<Browser> {
    if (program === undefined) {
      throw new HarnessError(
        "NO_BROWSER",
        `none of ${names.join(", ")} is installed (Debian: apt-get install chromium)`,
      );
    }
    const browser = new Browser(program, await tempFolder("browser"));
    try {
      await browser.send("Browser.getVersion");
      return browser;
    } catch (error) {
      await browser[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(program: string, folder: TempFolder) {
    this.#folder = folder;
    const args = [
      ...["--headless", "--remote-debugging-pipe", `--user-data-dir=${folder.path}`, "--no-first-run"],
      // Root has no sandbox, and a bare chroot no /dev/shm. Pages are our own, on loopback.
      ...[
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
      ],
      ...[
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--disable-breakpad",
      ],
      "about:blank",
    ];
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
      detached: true,
      // Chromium keeps crash reports and caches below these, also with a profile of its own.
      env: { ...process.env, HOME: folder.path, XDG_CONFIG_HOME: folder.path, XDG_CACHE_HOME: folder.path },
    });
    this.#child = child;
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    this.#guard = child.pid === undefined ? { dismiss: () => undefined } : guardGroup(child.pid, [folder.path]);
    this.#ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.#guard.dismiss();
        const error = new HarnessError("BROWSER_ENDED", `${program} ended (${how}):\n${said}`);
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        resolve();
      };
      child.once("error", (error) => end(error.message));
      child.once("close", (code, signal) => end(signal ?? `code ${code}`));
    });
    const [, , , , output] = child.stdio;
    (output as Readable).setEncoding("utf8").on("data", (text: string) => this.#read(text));
    for (const stream of child.stdio) stream?.on("error", () => undefined);
  }

  #read(text: string): void {
    const parts = (this.#text + text).split("\0");
    this.#text = parts.pop() ?? "";
    for (const part of parts) {
      const { id, result, error, method, params, sessionId } = JSON.parse(part);
      const waiting = this.#waiting.get(id);
      if (waiting === undefined) for (const listener of this.#listeners) listener(method, params, sessionId);
      else {
        this.#waiting.delete(id);
        if (error) waiting.reject(new HarnessError("BROWSER_REFUSED", error.message));
        else waiting.resolve(result);
      }
    }
  }

  /** One command of the protocol, and its answer. */
  send(method: string, params: Fields = {}, sessionId?: string): Promise<Fields> {
    const id = ++this.#lastId;
    const answer = new Promise<Fields>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
      this.#waiting.delete(id);
      return Promise.reject(new HarnessError("BROWSER_ENDED", "the browser has ended"));
    }
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return within(answer, answerMs, method);
  }

  /** Calls for every event; the returned function ends it. */
  onEvent(listener: (method: string, params: Fields, session: string | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async newPage(): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, String(sessionId));
    await page.open();
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const asked = this.send("Browser.close").catch(() => undefined);
    const timer = setTimeout(() => this.#kill(), 5_000);
    await Promise.all([asked, this.#ended]);
    clearTimeout(timer);
    // Helpers of the browser outlive it by a moment and write to its folder.
    this.#kill();
    await this.#folder[Symbol.asyncDispose]();
  }

  #kill(): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // All of the group has ended.
    }
  }
}

/** One tab. Selectors are CSS, and must match one element that can be seen. */
export class Page {
  /** What the page's scripts threw or wrote as an error, and answers of the server that say one. */
  readonly complaints: string[] = [];
  readonly #browser: Browser;
  readonly #session: string;
  #loads = 0;

  constructor(browser: Browser, session: string) {
    this.#browser = browser;
    this.#session = session;
    browser.onEvent((method, params, from) => {
      if (from === session) this.#note(method, params);
    });
  }

  #note(method: string, params: Fields): void {
    if (method === "Page.loadEventFired") this.#loads++;
    if (method === "Runtime.exceptionThrown") this.complaints.push(JSON.stringify(params.exceptionDetails));
    if (method === "Network.responseReceived") {
      const { status, url } = params.response as { status: number; url: string };
      if (status >= 400) this.complaints.push(`${status} ${url}`);
    }
  }

  #send(method: string, params: Fields = {}): Promise<Fields> {
    return this.#browser.send(method, params, this.#session);
  }

  async open(): Promise<void> {
    await Promise.all(["Page.enable", "Runtime.enable", "Network.enable"].map((method) => this.#send(method)));
    // Without it, pictures show what is half way.
    const still = { features: [{ name: "prefers-reduced-motion", value: "reduce" }] };
    await this.#send("Emulation.setEmulatedMedia", still);
    await this.#send("Emulation.setDeviceMetricsOverride", { ...window, deviceScaleFactor: 1, mobile: false });
  }

  /** Resolves when the page and its scripts are loaded. */
  async goto(url: string): Promise<void> {
    const before = this.#loads;
    // The same page with another fragment would not be loaded anew.
    await this.#send("Page.navigate", { url: "about:blank" });
    await waitFor(() => this.#loads > before, { timeout: answerMs, describe: "the empty page" });
    const { errorText } = await this.#send("Page.navigate", { url });
    if (errorText) throw new HarnessError("NOT_LOADED", `${url}: ${errorText}`);
    await waitFor(() => this.#loads > before + 1, { timeout: answerMs, describe: `${url} to load` });
  }

  /** The value of an expression in the page, or of what it promises; must be JSON. */
  async evaluate(expression: string): Promise<unknown> {
    const sent = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", sent);
    if (exceptionDetails) throw new HarnessError("PAGE_THREW", `${expression}: ${JSON.stringify(exceptionDetails)}`);
    return (result as { value?: unknown }).value;
  }

  /** What can be read in the elements that match, hidden ones too, with blanks made one. */
  async texts(selector: string): Promise<string[]> {
    const read = `[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent.replace(/\\s+/g, " ").trim())`;
    return (await this.evaluate(read)) as string[];
  }

  /** The cells of the rows of a table's body. */
  async rows(table: string): Promise<string[][]> {
    const read = `[...document.querySelectorAll(${JSON.stringify(`${table} tbody tr`)})].map((row) =>
      [...row.cells].map((cell) => cell.textContent.replace(/\\s+/g, " ").trim()))`;
    return (await this.evaluate(read)) as string[][];
  }

  /** A click of the mouse in the middle of the element, once it stands still and nothing covers it. */
  async click(selector: string): Promise<void> {
    const find = `(async () => {
      const found = document.querySelectorAll(${JSON.stringify(selector)});
      if (found.length !== 1) return { wrong: found.length + " elements match" };
      const [element] = found;
      element.scrollIntoView({ block: "center", inline: "center" });
      const at = () => element.getBoundingClientRect();
      const first = at();
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      const { x, y, width, height } = at();
      if (x !== first.x || y !== first.y || width === 0) return { wrong: "it moves, or cannot be seen" };
      const point = { x: x + width / 2, y: y + height / 2 };
      const top = document.elementFromPoint(point.x, point.y);
      if (top === null || !(element === top || element.contains(top))) return { wrong: "covered by " + top?.outerHTML.slice(0, 200) };
      return point;
    })()`;
    let seen: Fields = {};
    await waitFor(
      async () => {
        seen = (await this.evaluate(find)) as Fields;
        return seen.wrong === undefined;
      },
      { timeout: answerMs, describe: `to click ${selector}` },
    ).catch((cause: unknown) => {
      throw new HarnessError("NOT_CLICKED", `${selector}: ${String(seen.wrong)}`, { cause });
    });
    const event = { x: seen.x, y: seen.y, button: "left", clickCount: 1 };
    await this.#send("Input.dispatchMouseEvent", { ...event, type: "mousePressed" });
    await this.#send("Input.dispatchMouseEvent", { ...event, type: "mouseReleased" });
  }

  /** Puts text in the place of what a field holds, as typed. */
  async type(selector: string, text: string): Promise<void> {
    await this.click(selector);
    await this.evaluate(`document.querySelector(${JSON.stringify(selector)}).select()`);
    await this.#send("Input.insertText", { text });
  }

  /** The whole page as a PNG. */
  async screenshot(path: string): Promise<void> {
    mkdirSync(dirname(path), { recursive: true });
    await this.evaluate("scrollTo(0, 0)");
    const { data } = await this.#send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    writeFileSync(path, Buffer.from(String(data), "base64"));
  }
}
