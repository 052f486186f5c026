import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, expect, test } from "vitest";

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

test("the recovery of another application's function repairs that application's state", async () => {
  const charge = fn(
    "charge",
    async (_: undefined, ctx): Promise<string> => {
      await ctx.state.set("accounts/1", "half");
      throw new TerminalError("no");
    },
    {
      recover: async (ctx) => {
        await ctx.state.set("accounts/1", "whole");
        return ctx.resumeWith("repaired");
      },
    },
  );
  const buy = coordinator("buy", (ctx) => ctx.call("charge", undefined));
  t = await createTestPlatform({ application: [buy] as never, patienceMs: 20 });
  await t.deploy([charge] as never, "billing");
  expect(await t.run(buy)).toBe("repaired");
  expect(await t.controlPlane.state.get("billing", "accounts/1")).toMatchObject({ value: '"whole"' });
  expect(await t.controlPlane.state.stale()).toEqual([]);
  expect((await t.controlPlane.runs({ kind: "recovery" }, 5)).runs).toMatchObject([{ name: "function/charge", application: "billing" }]);
});

test("what waits for a slow disk is not taken for forgotten", async () => {
  const add = fn("add", (x: number) => x + 1);
  const sum = coordinator("sum", async (ctx) => {
    await ctx.state.set("sums/1", await ctx.call(add, 1));
    return ctx.call(add, 2);
  });
  t = await createTestPlatform({ application: [add, sum] as never, patienceMs: 20, faults: { commitMs: 20_000 } });

  const run = await t.start(sum);
  for (let i = 0; i < 400; i++) {
    await t.advance(600);
    expect((await t.audit()).repaired).toBe(0);
  }
  t.calm();
  expect(await run.result()).toBe(3);
});

test("the time from a failure to a person's decision is told", async () => {
  const pay = fn("pay", (): string => Promise.reject(new TerminalError("no")) as never, { recover: (ctx) => ctx.escalate("was it paid?") });
  t = await createTestPlatform({ application: [pay] as never, patienceMs: 20 });
  const run = await t.start(pay);
  await t.advance(90_000);
  await t.crash();
  await t.controlPlane.resolve(run.id, { action: "value", value: '"yes"' }, "alice");
  expect(await run.result()).toBe("yes");
  const told = (await t.events()).flatMap((event) =>
    event.type === "run.recovered" ? [[event.decision, event.by, event.tookMs >= 90_000]] : [],
  );
  expect(told).toEqual([
    ["escalate", undefined, false],
    ["resume", "alice", true],
  ]);
});

test("a recovery that resumes with a value leaves the keys stale that it has not repaired", async () => {
  const charge = fn(
    "charge",
    async (_: undefined, ctx): Promise<string> => {
      for (const key of ["accounts/1", "accounts/2"]) await ctx.state.set(key, "half");
      throw new TerminalError("no");
    },
    {
      recover: async (ctx) => {
        await ctx.state.refresh("accounts/1");
        return ctx.resumeWith("done");
      },
    },
  );
  t = await createTestPlatform({ application: [charge] as never, patienceMs: 20 });
  expect(await t.call(charge, undefined)).toBe("done");
  expect((await t.controlPlane.state.stale()).map(({ key }) => key)).toEqual(["accounts/2"]);
});
