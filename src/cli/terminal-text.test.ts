/** Texts of strangers on a terminal. */
import { expect, test } from "vitest";
import { clean, cleanLines, cut, fill } from "./terminal-text.ts";

test("a text takes the cells that a terminal gives it: two for wide forms and emoji, none for combining marks", () => {
  expect(cut("plain", 3)).toBe("pla");
  expect(cut("中文字", 4)).toBe("中文");
  // Half of a wide one is not shown.
  expect(cut("中文字", 5)).toBe("中文");
  expect(fill("中文字", 5)).toBe("中文 ");
  expect(fill("😀x", 4)).toBe("😀x ");
  expect(fill("e\u0301", 3)).toBe("e\u0301  ");
  expect(fill("ｆｕ", 5)).toBe("ｆｕ ");
  expect(fill("한글", 4)).toBe("한글");
  expect(cut("中", -1)).toBe("");
});

test("nothing in a text steers the terminal", () => {
  expect(clean("a\u001b]0;title\u0007\nb\u202e")).toBe("a ]0;title  b ");
  expect(cleanLines("a\u001b[31m\u009b2J\r\n\tb")).toBe("a [31m 2J \n\tb");
});
