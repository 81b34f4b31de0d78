/** What a schema complains about, in one line. */
import type { SchemaIssue } from "./standard-schema.ts";

export function issueText(issues: readonly SchemaIssue[]): string {
  return issues
    .slice(0, 10)
    .map((issue) => {
      const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
      return path === "" ? issue.message : `${path}: ${issue.message}`;
    })
    .join("; ");
}
