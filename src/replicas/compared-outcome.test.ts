import { describe, expect, test } from "vitest";
import type { Failure } from "../lib/errors.ts";
import { agreedOutcome, isSameOutcome, outcomeDifference } from "./compared-outcome.ts";

const failing = (failure: Partial<Failure> = {}) => ({ failure: { code: "NO_MONEY", message: "no money", name: "Error", ...failure } });

describe("two outcomes", () => {
  test.each([
    ["of the same text", { value: "[1,2]" }, { value: "[1,2]" }],
    ["whose fields are in another order", { value: '{"a":{"x":1,"y":2},"b":2}' }, { value: '{"b":2,"a":{"y":2,"x":1}}' }],
    ["without a value", { value: "" }, { value: "" }],
    ["that failed for the same reason", failing({ stack: "here" }), failing({ stack: "there", details: 1 })],
  ])("are the same %s", (_, a, b) => {
    expect(isSameOutcome(a, b)).toBe(true);
    expect(isSameOutcome(b, a)).toBe(true);
  });

  test.each([
    ["whose values differ", { value: "1" }, { value: "2" }, "value"],
    ["of which one has a field more", { value: '{"a":1}' }, { value: '{"a":1,"b":null}' }, "value.b"],
    ["of which one is an array", { value: "[]" }, { value: "{}" }, "value"],
    ["in another order of an array", { value: "[[1,2]]" }, { value: "[[2,1]]" }, "value[0][0]"],
    ["of which one has no value", { value: "null" }, { value: "" }, "value"],
    ["of which one failed", { value: "1" }, failing(), "value"],
    ["whose codes differ", failing(), failing({ code: "CLOSED" }), "failure.code"],
    ["whose names differ", failing(), failing({ name: "TypeError" }), "failure.name"],
    ["whose messages differ", failing(), failing({ message: "no" }), "failure.message"],
    ["of which one forbids another try", failing(), failing({ terminal: true }), "failure.terminal"],
    ["of which one is no JSON", { value: "1" }, { value: '1},"failure":{' }, "value"],
  ])("differ %s", (_, a, b, field) => {
    expect(isSameOutcome(a, b)).toBe(false);
    expect(isSameOutcome(b, a)).toBe(false);
    expect(outcomeDifference(a, b)).toBe(field);
  });

  test("that are nested deeper than any stack are compared without harm", () => {
    const deep = (inner: string): string => `${"[".repeat(100_000)}${inner}${"]".repeat(100_000)}`;
    expect(isSameOutcome({ value: deep("1") }, { value: deep("1") })).toBe(true);
    expect(isSameOutcome({ value: deep("1") }, { value: deep("2") })).toBe(false);
    expect(outcomeDifference({ value: deep("1") }, { value: deep("2") })).toMatch(/^value(\[0\])+$/);
  });
});

describe("what counts of a failure that two pods have told", () => {
  test("is what both have told, and one's stack", () => {
    const a = failing({ stack: "here", details: { left: 3 }, facts: { status: 500 }, terminal: true });
    const b = failing({ stack: "there", details: { left: 3 }, facts: { status: 404 }, terminal: true });
    expect(agreedOutcome(a, b)).toEqual(failing({ stack: "here", details: { left: 3 }, terminal: true }));
  });

  test("goes down to its causes", () => {
    const because = (cause: Partial<Failure>): Failure => ({ code: "CAUSE", message: "why", ...cause });
    const a = failing({ cause: because({ details: 1, stack: "here", cause: because({}) }) });
    const b = failing({ cause: because({ details: 1, stack: "there", cause: because({ message: "else" }) }) });
    expect(agreedOutcome(a, b)).toEqual(failing({ cause: because({ details: 1, stack: "here" }) }));
  });

  test("takes no field of a shape that no failure has", () => {
    const a = failing({ cause: "because" as never });
    expect(agreedOutcome(a, a)).toEqual(failing());
  });
});
