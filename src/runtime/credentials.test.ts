import { expect, test } from "vitest";
import { maskUrl } from "./credentials.ts";

test.each([
  ["redis://:pw@h/1", "redis://:**@h/1"],
  ["redis://u:123@h/0", "redis://u:**@h/0"],
  // Not escaped, and so no URL that can be read; the error that says so shows it.
  ["redis://u:p@ss/w?rd#@h:1/3", "redis://u:**@h:1/3"],
  ["redis://u:12/34@h/0", "redis://u:**@h/0"],
  ["redis://u:2024#x@h/0", "redis://u:**@h/0"],
  ["redis://u:12?34@h/0", "redis://u:**@h/0"],
  ["redis://u:12/3?4@h/0?name=a@b", "redis://u:**@h/0?name=a@b"],
  ["redis://u:p?a=b@h/0", "redis://u:**@h/0"],
  ["redis://u:p@h:1/0?x=a@b", "redis://u:**@h:1/0?x=a@b"],
  ["redis://u:p@h:1/0?x=a@b&password=c@d", "redis://u:**@h:1/0?x=a@b&password=**"],
  ["amqp://user@server:pw@h//", "amqp://user@server:**@h//"],
  ["amqp://u:one@h1//;amqp://u:two@h2//", "amqp://u:**@h1//;amqp://u:**@h2//"],
  ["redis://h/0?password=pw&db=1", "redis://h/0?password=**&db=1"],
])("no password is left of %s", (url, masked) => expect(maskUrl(url)).toBe(masked));

test.each([
  "redis://h:6379/0?name=a@b",
  "redis://h:6379?name=a@b",
  "redis://user@h:6379/0?name=a@b",
  "redis://[::1]:6379/0",
  "sentinel://h:1;h2:2/0",
  "amqp://h//",
  "no URL",
])("%s stays as it is", (url) => expect(maskUrl(url)).toBe(url));
