import { createTestPlatform, type RunError } from "lockstep/testing";
import { expect, test } from "vitest";
import * as arithmetic from "./index.ts";

const caught = (promise: Promise<unknown>): Promise<RunError> =>
  promise.then(
    (value) => {
      throw new Error(`it gave ${String(value)}`);
    },
    (error: RunError) => error,
  );

test.each([
  ["((3+5)*(4/2))", {}, 16],
  ["(a+b)*2", { a: 1, b: 2 }, 6],
  ["1 - 2 - 3", {}, -4],
  ["add(1, multiply(2, 3))", {}, 7],
])("%s with %j is %d", async (expression, variables, value) => {
  await using platform = await createTestPlatform({ application: arithmetic });
  expect(await platform.eval(expression, variables)).toBe(value);
});

test("equal parts are computed once, as the functions are deterministic", async () => {
  await using platform = await createTestPlatform({ application: arithmetic });
  const run = await platform.startExpression("(a+b)*(a+b)", { a: 1, b: 2 });
  expect(await run.result()).toBe(9);
  expect((await run.journal()).filter(({ t }) => t === "call")).toHaveLength(2);
});

test("division by zero fails at once and says so", async () => {
  await using platform = await createTestPlatform({ application: arithmetic });
  const run = await platform.startExpression("1/(2-2)");
  const error = await caught(run.result());
  expect(error).toMatchObject({ code: "DIVISION_BY_ZERO", failure: { call: { function: "divide" } } });
  expect(error.message).toContain("1 / 0: division by zero");
  expect((await run.journal()).filter(({ t }) => t === "attempt")).toEqual([]);
});

test("operands are checked, and the wrong one is named", async () => {
  await using platform = await createTestPlatform({ application: arithmetic });
  const error = await caught(platform.eval('1+"x"'));
  expect(error).toMatchObject({ code: "INPUT_INVALID" });
  expect(error.message).toMatch(/1.*expected a number/);
  expect(await caught(platform.call("add", [1]))).toMatchObject({ code: "INPUT_INVALID" });
});
