import { expect, test } from "vitest";
import { z } from "zod";
import type { Definition } from "../application/context.ts";
import { fn } from "../application/definitions.ts";
import { applyStateful } from "./replica-stateful.ts";

const applied = (definition: Definition, state: unknown, input: unknown): unknown =>
  applyStateful(definition as never, state, input, context);

const context = { input: undefined, now: () => 5 } as never;

interface Account {
  balance: number;
}

const pay = (initial: Account, { amount }: { amount: number }) => {
  if (amount > initial.balance) throw new Error("too little");
  return { state: { balance: initial.balance - amount }, value: initial.balance - amount };
};

const account = fn.stateful("account", { initial: () => ({ balance: 0 }), apply: pay, key: "account" });

test("an operation gives the next state and a value, at once or later", async () => {
  expect(applied(account, { balance: 10 }, { amount: 4 })).toEqual({ state: { balance: 6 }, value: 6 });
  const later = fn.stateful("later", {
    initial: account.stateful!.initial,
    apply: async (state: Account, input: { amount: number }) => pay(state, input),
  });
  expect(await applied(later, { balance: 10 }, { amount: 4 })).toEqual({ state: { balance: 6 }, value: 6 });
});

test("what apply throws goes on", async () => {
  expect(() => applied(account, { balance: 1 }, { amount: 4 })).toThrow("too little");
});

test("input and value are held to their schemas, the state is not", () => {
  const strict = fn.stateful(
    "strict",
    { initial: () => ({ balance: 0 }), apply: pay },
    { input: z.object({ amount: z.number().positive() }), output: z.number().min(1) },
  );
  expect(() => applied(strict, { balance: 9 }, { amount: -1 })).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
  expect(() => applied(strict, { balance: 9 }, { amount: 9 })).toThrow(expect.objectContaining({ code: "OUTPUT_INVALID" }));
  expect(applied(strict, { balance: 9 }, { amount: 1 })).toEqual({ state: { balance: 8 }, value: 8 });
});

test.each([undefined, null, 7, { value: 1 }, { state: undefined, value: 1 }])("apply that gives no state is refused: %j", (returned) => {
  const broken = fn.stateful("broken", { initial: () => 0, apply: () => returned as never });
  expect(() => applied(broken, 1, undefined)).toThrow('apply of function "broken" must return { state, value }');
});
