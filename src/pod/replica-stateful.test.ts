import { expect, test } from "vitest";
import { z } from "zod";
import type { Definition } from "../application/context.ts";
import { fn } from "../application/definitions.ts";
import { applyStateful } from "./replica-stateful.ts";

const context = (key = "run_0000000000a/1/1", stateKey = "") => ({
  input: undefined,
  key,
  operation: { id: key, key: stateKey },
  now: () => 5,
});

const applied = (definition: Definition, state: unknown, input: unknown, given = context()): unknown =>
  applyStateful(definition as never, state, input, given as never);

interface Account {
  balance: number;
}

const pay = (from: Account, { amount }: { amount: number }) => {
  if (amount > from.balance) throw new Error("too little");
  return { state: { balance: from.balance - amount }, value: from.balance - amount };
};
const initial = () => ({ balance: 0 });

const account = fn.stateful("account", { initial, apply: pay });

test("an operation gives the next state and a value, at once or later", async () => {
  expect(applied(account, { balance: 10 }, { amount: 4 })).toEqual({ state: { balance: 6 }, value: 6 });
  const later = fn.stateful("later", { initial, apply: async (state: Account, input: { amount: number }) => pay(state, input) });
  expect(await applied(later, { balance: 10 }, { amount: 4 })).toEqual({ state: { balance: 6 }, value: 6 });
});

test("what apply throws goes on", async () => {
  expect(() => applied(account, { balance: 1 }, { amount: 4 })).toThrow("too little");
});

test("input and value are held to their schemas, the state is not", () => {
  const strict = fn.stateful(
    "strict",
    { initial, apply: pay },
    { input: z.object({ amount: z.number().positive() }), output: z.number().min(1) },
  );
  expect(() => applied(strict, { balance: 9 }, { amount: -1 })).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
  expect(() => applied(strict, { balance: 9 }, { amount: 9 })).toThrow(expect.objectContaining({ code: "OUTPUT_INVALID" }));
  expect(applied(strict, { balance: 9 }, { amount: 1 })).toEqual({ state: { balance: 8 }, value: 8 });
});

test.each([undefined, null, 7, { value: 1 }, { state: undefined, value: 1 }])("apply that gives no state is refused: %j", (returned) => {
  const broken = fn.stateful("broken", { initial: () => 0, apply: () => returned as never });
  expect(() => applied(broken, 1, undefined)).toThrow('apply of function "broken" must return { state }');
});

test("an operation is of the key that its input has, and of no other", () => {
  const keyed = fn.stateful("keyed", { initial, apply: pay, key: "of" });
  const input = { of: "alice", amount: 4 };
  expect(applied(keyed, { balance: 10 }, input, context("r/1/1", "alice"))).toMatchObject({ value: 6 });
  for (const [given, key] of [
    [input, "bob"],
    [input, ""],
    [{ amount: 4 }, ""],
    [{ amount: 4, of: {} }, "alice"],
  ] as const) {
    expect(() => applied(keyed, { balance: 10 }, given, context("r/1/1", key))).toThrow(
      "of, its state's key, must be a text of 1 to 1,000 characters",
    );
  }
});

test("a compensation changes the state by what the machine says, and has no value", async () => {
  const machine = { initial, apply: pay, key: "of" };
  const back = (state: Account, { output }: { input: { of: string; amount: number }; output: number }) => ({
    state: { balance: state.balance + output },
  });
  const undone = { input: { of: "alice", amount: 4 }, output: 6 };
  const given = context("run_0000000000a/-1/1", "alice");
  const both = [
    fn.stateful("account", { ...machine, compensate: back }),
    fn.stateful("later", {
      initial,
      apply: (state: Account, input: { of: string; amount: number }) => pay(state, input),
      key: "of",
      compensate: async (state, done) => back(state, done),
    }),
  ];
  for (const each of both) expect(await applied(each, { balance: 1 }, undone, given)).toEqual({ state: { balance: 7 }, value: undefined });
  expect(() => applied(fn.stateful("none", machine), { balance: 1 }, undone, given)).toThrow('function "none" has no compensate');
  expect(() => applied(both[0]!, { balance: 1 }, undone, context("run_0000000000a/-1/1", "bob"))).toThrow("its state's key");
});
