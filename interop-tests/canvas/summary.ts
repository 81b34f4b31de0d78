/** The grid's part of `docs/compatibility.md`, made of what a run has proven. */
import { titles } from "../harness/compatibility-file.ts";
import { byDefault, differences, onPurpose } from "./differences.ts";
import { fleetNames, storeNames } from "./fleet.ts";
import { clientNames } from "./run-fleet.ts";
import { runsOn, type Workflow } from "./shape.ts";

const groupOf = (name: string): string => name.slice(0, name.indexOf("/"));
/** Python's client to Python's workers is what the others are compared with. */
const compared = fleetNames.length * clientNames.length - 1;

/** Workflows that passed, by `<stores> <workflow>`: how often. */
export class WorkflowTally {
  readonly #passed = new Map<string, number>();

  pass(stores: string, workflow: string): void {
    const key = `${stores} ${workflow}`;
    this.#passed.set(key, (this.#passed.get(key) ?? 0) + 1);
  }

  /** What did not pass everywhere. */
  failed(workflows: readonly Workflow[]): string[] {
    return workflows.flatMap(({ name, ...one }) =>
      storeNames
        .filter((stores) => runsOn({ name, ...one }, stores) && this.#passed.get(`${stores} ${name}`) !== compared)
        .map((stores) => `${stores} ${name}`),
    );
  }

  text(workflows: readonly Workflow[]): string {
    const groups = [...new Set(workflows.map(({ name }) => groupOf(name)))];
    const rows = groups.map((group) => {
      const members = workflows.filter(({ name }) => groupOf(name) === group);
      return `| ${group} | ${storeNames.map((stores) => this.#cell(members, stores)).join(" | ")} |`;
    });
    return `${[
      titles.workflows,
      `${workflows.length} workflows are sent by both clients to fleets of Celery 5.7.0, of TypeScript, of Celery 5.7.0, 5.6.3 and TypeScript ` +
        "together, and of TypeScript with its default settings (the others leave hanging what Celery leaves hanging). Each is compared with " +
        "what Python's client and workers make of it: the outcome, the tree of results, who ran with which ids, and all that stands in the " +
        "result store. A number is how many passed, of how many that are on.",
      [`| | ${storeNames.join(" | ")} |`, `| --- |${storeNames.map(() => " --- |").join("")}`, ...rows].join("\n"),
      "What is not compared, and why:",
      [
        ...differences.map(({ workflows: names, reason }) => line(names, "beside Celery 5.6.3", reason)),
        ...onPurpose.map(({ workflows: names, reason }) => line(names, "", reason)),
        ...byDefault.map(({ workflows: names, reason }) => line(names, "by default", reason)),
      ].join("\n"),
    ].join("\n\n")}\n`;
  }

  #cell(members: readonly Workflow[], stores: (typeof storeNames)[number]): string {
    const on = members.filter((one) => runsOn(one, stores));
    if (on.length === 0) return "off";
    const passed = on.reduce((sum, { name }) => sum + (this.#passed.get(`${stores} ${name}`) ?? 0), 0);
    return `${passed}/${on.length * compared}`;
  }
}

function line(names: readonly string[], where: string, reason: string): string {
  return `- ${names.map((name) => `\`${name}\``).join(", ")}${where === "" ? "" : ` (${where})`}: ${reason}.`;
}
