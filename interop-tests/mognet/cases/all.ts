import { HarnessError } from "../../../src/testing/index.ts";
import type { Case } from "../case.ts";
import { failureCases } from "./failures.ts";
import { flowCases } from "./flow.ts";
import { messageCases } from "./messages.ts";
import { revokeCases } from "./revokes.ts";
import { valueCases } from "./values.ts";

export function allCases(): readonly Case[] {
  const all = [...valueCases, ...failureCases, ...flowCases, ...revokeCases, ...messageCases];
  const names = new Set(all.map(({ name }) => name));
  if (names.size !== all.length) throw new HarnessError("SAME_NAME", "two cases have one name");
  return all;
}
