import { expect, test } from "vitest";
import type { Request } from "./request.ts";
import { RequestIndex } from "./request-index.ts";

const request = (id: string): Request => ({ id }) as Partial<Request> as Request;

test("finds what it holds by id, in the order of entry, and forgets what is taken out", () => {
  const index = new RequestIndex();
  const [a, b] = [request("a"), request("b")];
  index.add(a);
  index.add(b);
  index.add(a);
  expect([...index]).toEqual([a, b]);
  expect(index.find("b")).toBe(b);
  expect(index.delete(b)).toBe(true);
  expect(index.delete(b)).toBe(false);
  expect([index.find("b"), index.size]).toEqual([null, 1]);
});

test("two messages under one id are both held", () => {
  const index = new RequestIndex();
  const twins = [request("x"), request("x"), request("x")] as const;
  for (const twin of twins) index.add(twin);
  expect(index.find("x")).toBe(twins[2]);
  index.delete(twins[2]);
  expect(twins).toContain(index.find("x"));
  index.delete(twins[0]);
  expect(index.find("x")).toBe(twins[1]);
  index.delete(twins[1]);
  expect([index.find("x"), index.size]).toEqual([null, 0]);
});
