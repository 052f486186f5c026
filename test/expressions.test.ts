/** Expressions on the real platform: what is independent runs at the same time. */
import type { JournalEntry } from "lockstep/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox } from "./support/sandbox.ts";

const sandbox = createSandbox();
let platform: PlatformProcess;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox);
  await platform.deploy("test/apps/work");
  // Its pod is there, so that what is measured is the expression.
  await platform.client.eval("1+2");
});

afterAll(() => sandbox.dispose());

const timesOf = (journal: readonly JournalEntry[], kind: "call" | "done"): number[] =>
  journal.flatMap((entry) => (entry.t === kind ? [entry.at] : []));

test("a balanced expression has the operators of a level under way together", async () => {
  // Eight operands are seven operators in three levels. How long that takes is tested on a clock that is stepped.
  const run = await platform.client.startExpression("((1+2)+(3+4))+((5+6)+(7+8))");
  expect(await run.result({ timeoutMs: 30_000 })).toBe(36);
  const journal = await run.journal();
  const calls = timesOf(journal, "call");
  const outcomes = timesOf(journal, "done");
  expect(calls).toHaveLength(7);
  expect(Math.max(...calls.slice(0, 4))).toBeLessThan(Math.min(...outcomes));
});

test("a dependent sub-expression does not wait for an independent one", async () => {
  const run = await platform.client.startExpression("nap(1500) + ((1 + 2) + 3)");
  expect(await run.result({ timeoutMs: 30_000 })).toBe(1506);
  const journal = await run.journal();
  const endOfNap = journal.find((entry) => entry.t === "done" && entry.value === 1500)?.at as number;
  const endOfSums = journal.find((entry) => entry.t === "done" && entry.value === 6)?.at as number;
  expect(endOfSums).toBeLessThan(endOfNap);
});

/** The sum of the numbers from `from` to below `to`, halved again and again. */
const balanced = (from: number, to: number): string => {
  if (to - from === 1) return String(from);
  const middle = (from + to) >> 1;
  return `(${balanced(from, middle)}+${balanced(middle, to)})`;
};

test.each([
  ["side by side", balanced(0, 10_001), 50_005_000],
  ["one after the other", Array.from({ length: 2_001 }, (_, i) => i).join("+"), 2_001_000],
])("thousands of operators work, %s", { timeout: 60_000 }, async (_, expression, sum) => {
  const arithmetic = createSandbox();
  try {
    const { client, deploy } = await startPlatformProcess(arithmetic);
    await deploy("examples/arithmetic");
    expect(await client.eval(expression, {}, { timeoutMs: 50_000 })).toBe(sum);
  } finally {
    await arithmetic.dispose();
  }
});
