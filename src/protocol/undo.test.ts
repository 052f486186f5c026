import { expect, test } from "vitest";
import { isUndo, undoInput } from "./undo.ts";

test("a compensation's input is the call's input and output, as far as there are any", () => {
  expect(undoInput('{"a":1}', "7")).toBe('{"input":{"a":1},"output":7}');
  expect([undoInput("", "7"), undoInput("1", ""), undoInput("", "")]).toEqual(['{"output":7}', '{"input":1}', "{}"]);
});

test("a compensation is told by its number", () => {
  expect(["run_0000000000a/-3/1", "run_0000000000a/-3"].every(isUndo)).toBe(true);
  expect(["run_0000000000a/3/1", "run_0000000000a", "-a/3", ""].some(isUndo)).toBe(false);
});
