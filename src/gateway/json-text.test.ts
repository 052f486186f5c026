import { expect, test } from "vitest";
import { resultMembers, withRawMembers } from "./json-text.ts";

test("members of JSON text are embedded, the others are written as JSON", () => {
  const text = withRawMembers({ 'na"me': "x", value: '{"a": [1, 2]}', count: 2 }, new Set(["value"]));
  expect(text).toBe('{"na\\"me":"x","value":{"a": [1, 2]},"count":2}');
});

test("members without a value are left out", () => {
  expect(withRawMembers({ a: undefined, value: "", b: 1, input: undefined }, new Set(["value", "input"]))).toBe('{"b":1}');
  expect(withRawMembers({}, new Set())).toBe("{}");
});

test("a result has its value as it is, or its failure", () => {
  expect(resultMembers({ id: "run_1", status: "completed", value: "[1]" })).toBe('"id":"run_1","status":"completed","value":[1]');
  expect(resultMembers({ id: "run_1", status: "completed", value: "" })).toBe('"id":"run_1","status":"completed"');
  const failure = { code: "X", message: 'a "b"' };
  expect(JSON.parse(`{${resultMembers({ id: "run_1", status: "failed", failure })}}`)).toEqual({ id: "run_1", status: "failed", failure });
});
