import { expect, test } from "vitest";
import { stateKeyOf } from "./state-key.ts";

test("a state's key is a field of the input, or the same for all calls", () => {
  expect(stateKeyOf("account", { account: "alice" })).toBe("alice");
  expect(stateKeyOf("customer.id", { customer: { id: 17 } })).toBe("17");
  expect(stateKeyOf(undefined, { account: "alice" })).toBe("");
  expect(stateKeyOf(undefined, undefined)).toBe("");
});

test.each([undefined, null, 1, {}, { account: "" }, { account: null }, { account: {} }, { account: "a".repeat(1_001) }, []])(
  "an input may have none: %j",
  (input) => {
    expect(stateKeyOf("account", input)).toBeUndefined();
    expect(stateKeyOf("toString.name", input)).toBeUndefined();
  },
);
