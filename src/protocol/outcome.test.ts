import { expect, test } from "vitest";
import { failureOutcome, readOutcome, valueOutcome } from "./outcome.ts";

test.each(["1", '"text"', '{"failure":{"code":"X"}}', "null", ""])("the value %s is read as it was written", (value) => {
  expect(readOutcome(valueOutcome(value))).toEqual({ value });
});

test("a failure is read as it was written", () => {
  const failure = { code: "MINE", message: "no" };
  expect(readOutcome(failureOutcome(failure))).toEqual({ failure });
});

test("all outcomes are JSON", () => {
  for (const value of ["1", ""]) expect(() => JSON.parse(valueOutcome(value))).not.toThrow();
});
