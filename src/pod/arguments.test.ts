import { expect, test } from "vitest";
import { durationOf, nameOf, optionsOf } from "./arguments.ts";

test("a name is text, or what a definition is called", () => {
  expect(nameOf("pay", "call")).toBe("pay");
  expect(nameOf({ name: "pay" }, "call")).toBe("pay");
});

test.each([[undefined], [null], [42], [""], [{}], [{ name: 7 }]])("%j is refused as a name", (target) => {
  expect(() => nameOf(target, "signal")).toThrow(/ctx\.signal needs a name/);
});

test("a duration may be endless, but not negative, text or no number", () => {
  expect(durationOf(5, "sleep")).toBe(5);
  expect(durationOf(Number.POSITIVE_INFINITY, "sleep")).toBe(Number.MAX_SAFE_INTEGER);
  for (const wrong of [-1, Number.NaN, "soon", undefined]) expect(() => durationOf(wrong, "sleep")).toThrow(TypeError);
});

test("only the options that are known reach the journal", () => {
  const retry = { attempts: 2, backoff: { initialMs: 5, unknown: 1 }, onExhausted: "fail", more: () => undefined };
  expect(optionsOf({ timeoutMs: 50, priority: -1, retry, signal: new AbortController().signal } as never)).toEqual({
    timeoutMs: 50,
    priority: -1,
    retry: { attempts: 2, backoff: { initialMs: 5 }, onExhausted: "fail" },
  });
  expect(optionsOf({ signal: new AbortController().signal })).toBeUndefined();
});

test.each([
  [{ timeoutMs: "soon" }, "timeoutMs"],
  [{ timeoutMs: 0 }, "timeoutMs"],
  [{ priority: Number.POSITIVE_INFINITY }, "priority"],
  [{ retry: { attempts: 0 } }, "retry.attempts"],
  [{ retry: { nonRetryable: "ALL" } }, "retry.nonRetryable"],
  [{ retry: { onExhausted: "panic" } }, "retry.onExhausted"],
  [{ retry: { backoff: { factor: 0.5 } } }, "retry.backoff.factor"],
])("%j is refused by its name", (options, name) => {
  expect(() => optionsOf(options as never)).toThrow(new RegExp(`option ${name} `));
});
