/** Flower's pages as a person meets them: what stands on them, what its alerts say, pictures of them. */
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../src/testing/index.ts";
import type { Page } from "./flower-browser.ts";

export const tabs = ["pool", "broker", "queues", "tasks", "limits", "config", "system", "other"] as const;
export type Tab = (typeof tabs)[number];

/** What a page said after a click: `success` or `danger`, and its words. */
export interface Alert {
  kind: string;
  text: string;
}

/** Rows of cells, by the caption of their table; the first row is the head, where there is one. */
export type Tables = Record<string, string[][]>;

const clean = `(text) => text.replace(/\\s+/g, " ").trim()`;

export class FlowerPages {
  readonly page: Page;
  readonly #url: string;
  readonly #folder: string;

  /** Pictures go to the folder of that name among the artefacts; those of an earlier run are removed. */
  constructor(page: Page, url: string, name: string) {
    this.page = page;
    this.#url = url;
    this.#folder = fileURLToPath(new URL(`../artefacts/screenshots/${name}/`, import.meta.url));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  picture(name: string): Promise<void> {
    return this.page.screenshot(`${this.#folder}${name}.png`);
  }

  async open(path: string): Promise<void> {
    await this.page.goto(this.#url + path);
    // Alerts go away by themselves; this keeps what they said.
    await this.page.evaluate(`{
      window.alerts = [];
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes)
          for (const { className, textContent } of addedNodes)
            window.alerts.push({ kind: /text-bg-(\\w+)/.exec(className)?.[1] ?? className, text: (${clean})(textContent) });
      }).observe(document.getElementById("toast-container"), { childList: true });
    }`);
  }

  /** Clicks, and resolves with the alert that follows. */
  async act(selector: string): Promise<Alert> {
    const alerts = async () => (await this.page.evaluate("window.alerts")) as Alert[];
    const before = (await alerts()).length;
    await this.page.click(selector);
    return waitFor(async () => (await alerts())[before], { timeout: 60_000, describe: `an alert after ${selector}` });
  }

  /** An action of the menu on a worker's page. */
  async menu(action: string): Promise<Alert> {
    await this.page.click("#worker-group");
    return this.act(`#worker-${action}`);
  }

  async openTab(tab: Tab): Promise<void> {
    await this.page.click(`#worker-tab-${tab}`);
    const shown = `getComputedStyle(document.querySelector("#tab-${tab}.active.show") ?? document.head).opacity === "1"`;
    await waitFor(() => this.page.evaluate(shown), { describe: `the tab ${tab}` });
  }

  async tables(tab: Tab): Promise<Tables> {
    const read = `Object.fromEntries([...document.querySelectorAll("#tab-${tab} table")].map((table) => [
      (${clean})(table.caption.textContent),
      [...table.rows].map((row) => [...row.cells].map((cell) => (${clean})(cell.textContent))),
    ]))`;
    return (await this.page.evaluate(read)) as Tables;
  }

  /** What the page of a task says, by the words on its left. */
  async task(id: string): Promise<Record<string, string>> {
    await this.open(`/task/${id}`);
    const read = `Object.fromEntries([...document.querySelectorAll(".detail-row")].map((row) => [
      (${clean})(row.querySelector("dt").textContent),
      (${clean})((row.querySelector("dd code") ?? row.querySelector("dd")).textContent),
    ]))`;
    return (await this.page.evaluate(read)) as Record<string, string>;
  }

  /** The rows of a table that a script fills, once it has so many. */
  async filledRows(table: string, count: number): Promise<string[][]> {
    let rows: string[][] = [];
    await waitFor(
      async () => {
        rows = await this.page.rows(table);
        return rows.length === count && rows.every((row) => row.length > 1);
      },
      { timeout: 30_000, describe: `${count} rows of ${table}` },
    );
    return rows;
  }
}
