/** Every case of the matrix. */
import type { Case } from "../case.ts";
import { bindingCases } from "./binding.ts";
import { failureCases } from "./failures.ts";
import { messageCases } from "./messages.ts";
import { linkCases, resultCases } from "./results.ts";
import { retryCases } from "./retries.ts";
import { requestCases, routingCases } from "./routing.ts";
import { timeCases } from "./times.ts";
import { valueCases } from "./values.ts";

/** Those that hold instants are made anew at each call. */
export function allCases(): readonly Case[] {
  return [
    ...valueCases,
    ...bindingCases,
    ...failureCases,
    ...retryCases,
    ...timeCases(),
    ...routingCases,
    ...requestCases,
    ...linkCases,
    ...resultCases,
    ...messageCases,
  ];
}
