import { coordinator, fn } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const double = fn("double", (x: number) => x * 2);
const chain = coordinator("chain", async (ctx, x: number) => ctx.call(double, await ctx.call(double, x)));
const sleeper = coordinator("sleeper", async (ctx, days: number) => {
  await ctx.sleep(days * 86_400_000);
  return ctx.now();
});

test("a chain", async () => {
  const t = await createTestPlatform({ application: [double, chain, sleeper] });
  expect(await t.run(chain, 3)).toBe(12);
  await t.stop();
});

test("a sleep of 30 days", async () => {
  const t = await createTestPlatform({ application: [double, chain, sleeper] });
  const before = performance.now();
  const start = t.now();
  expect(await t.run(sleeper, 30)).toBe(start + 30 * 86_400_000);
  console.log(performance.now() - before);
  expect(t.now()).toBe(start + 30 * 86_400_000);
  expect(await t.audit()).toEqual({ checked: 0, repaired: 0 });
  await t.stop();
});
