/** Every workflow of the grid. */
import { HarnessError } from "../../../src/testing/index.ts";
import type { Workflow } from "../shape.ts";
import { chains } from "./chains.ts";
import { chords } from "./chords.ts";
import { dropped } from "./dropped.ts";
import { groups } from "./groups.ts";
import { inside } from "./inside.ts";
import { options } from "./options.ts";

export function allWorkflows(): Workflow[] {
  const all = [...chains, ...groups, ...chords, ...inside, ...options, ...dropped];
  const names = new Set(all.map(({ name }) => name));
  if (names.size !== all.length) throw new HarnessError("SAME_NAME", "two workflows of the grid have one name");
  return all;
}
