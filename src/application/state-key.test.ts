import { expect, test } from "vitest";
import { stateKeyOf } from "./state-key.ts";

const keyOf = (stateKey: string | undefined, input: unknown): string =>
  stateKeyOf({ name: "pay", ...(stateKey === undefined ? {} : { stateKey }) }, input === undefined ? "" : JSON.stringify(input));

test("a state's key is a field of the input, or the same for all calls", () => {
  expect(keyOf("account", { account: "alice" })).toBe("alice");
  expect(keyOf("customer.id", { customer: { id: 17 } })).toBe("17");
  expect(keyOf(undefined, { account: "alice" })).toBe("");
  expect(keyOf(undefined, undefined)).toBe("");
});

test.each([undefined, null, 1, {}, { account: "" }, { account: null }, { account: {} }, { account: "a".repeat(1_025) }, []])(
  "an input without one is refused: %j",
  (input) => {
    expect(() => keyOf("account", input)).toThrow(expect.objectContaining({ code: "INPUT_INVALID", terminal: true }));
    expect(() => keyOf("toString.name", input)).toThrow("toString.name, its state's key, is missing");
  },
);
