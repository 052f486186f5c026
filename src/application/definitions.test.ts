import { describe, expect, test } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import { coordinator, fn, isDefinition, isFunction } from "./definitions.ts";

const refusal = (define: () => unknown): LockstepError => {
  try {
    define();
  } catch (error) {
    return error as LockstepError;
  }
  throw new Error("nothing was refused");
};

test("definitions keep what they were given, and are told apart", () => {
  const handler = async () => 1;
  const options = { timeoutMs: 5, retry: { attempts: 2, nonRetryable: ["X"], onExhausted: "fail" as const } };
  const pay = fn("pay", handler, options);
  const book = coordinator("book", handler);
  expect(pay).toMatchObject({ name: "pay", handler, options });
  expect([isDefinition(pay), isFunction(pay), isDefinition(book), isFunction(book)]).toEqual([true, true, true, false]);
  expect([{}, null, "pay", handler].some(isDefinition)).toBe(false);
});

describe("a function is refused, by the name of what is wrong, for", () => {
  test.each<[string, unknown]>([
    ["timeoutMs", { timeoutMs: 0 }],
    ["timeoutMs", { timeoutMs: "5" }],
    ["concurrency", { concurrency: Number.NaN }],
    ["memoryMb", { memoryMb: 1 }],
    ["retry.attempts", { retry: { attempts: 0 } }],
    ["retry.backoff.initialMs", { retry: { backoff: { initialMs: -1 } } }],
    ["retry.backoff.factor", { retry: { backoff: { factor: 0.5 } } }],
    ["retry.backoff.maxMs", { retry: { backoff: { maxMs: Number.POSITIVE_INFINITY } } }],
    ["retry.backoff.jitter", { retry: { backoff: { jitter: -1 } } }],
    ["retry.nonRetryable", { retry: { nonRetryable: "CARD_DECLINED" } }],
    ["retry.nonRetryable", { retry: { nonRetryable: [1] } }],
    ["retry.onExhausted", { retry: { onExhausted: "ignore" } }],
  ])("%s in %j", (field, options) => {
    const error = refusal(() => fn("pay", () => 1, options as never));
    expect(error).toBeInstanceOf(LockstepError);
    expect([error.code, error.details]).toEqual(["APPLICATION_INVALID", { field }]);
    expect(error.message).toContain(field);
  });

  test.each(["", "1st", "a b", "é", `a${"b".repeat(100)}`, 7, undefined])("the name %j", (name) => {
    expect(refusal(() => fn(name as string, () => 1)).details).toEqual({ field: "name" });
    expect(refusal(() => coordinator(name as string, async () => 1)).details).toEqual({ field: "name" });
  });

  test("no handler", () => {
    expect(refusal(() => fn("pay", undefined as never)).details).toEqual({ field: "handler" });
    expect(refusal(() => coordinator("book", {} as never)).details).toEqual({ field: "handler" });
  });
});
