/** Promises that hold across features, where each feature's own tests would not see them broken. */
import type { RecoveryContext } from "lockstep";
import { bucket, coordinator, fn, TerminalError } from "lockstep";
import { type CrashPoint, createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const HOUR_MS = 3_600_000;
const retry = { attempts: 2, backoff: { initialMs: 1_000 } };

describe("P3: a run whose recovery takes an hour", () => {
  const later = async (ctx: RecoveryContext): Promise<ReturnType<RecoveryContext["resumeWith"]>> => {
    await ctx.sleep(HOUR_MS);
    return ctx.resumeWith("paid later");
  };
  const refuse = (): string => {
    throw new TerminalError("no");
  };
  const recovered = [fn("pay", refuse, { recover: later }), coordinator("buy", async (ctx) => ctx.call("pay"))];
  const failing = [fn("pay", refuse), coordinator("buy", async (ctx) => ctx.call("pay"), { recover: later })];

  test.each<{ whose: string; application: typeof recovered; point: CrashPoint }>([
    { whose: "its call's", application: recovered, point: "before" },
    { whose: "its call's", application: recovered, point: "after" },
    { whose: "its own", application: failing, point: "before" },
    { whose: "its own", application: failing, point: "after" },
  ])("is woken by $whose recovery, if the control plane dies $point each commit of its end", async ({ application, point }) => {
    for (let commits = 1; ; commits++) {
      t = await createTestPlatform({ application, limits: { evictAfterMs: 5_000 } });
      const run = await t.start("buy");
      await t.advance(HOUR_MS - 1_000);
      t.crashAtCommit(commits, point);
      expect(await run.result(), `death ${point} commit ${commits}`).toBe("paid later");
      if (t.crashes === 0) return;
      expect((await t.audit()).repaired).toBe(0);
      await t.stop();
    }
  });
});

describe("P6: what a run does later is done by the version that it began with", () => {
  /** The same application, whose every part says which version it is. */
  const applicationOf = (version: string) => {
    const reserve = fn("reserve", (_: undefined) => version, { compensate: (ctx) => ctx.log.info(`undone by ${version}`) });
    const pay = fn(
      "pay",
      (_: undefined, ctx): string => {
        ctx.log.info(`attempt ${ctx.attempt} by ${version}`);
        throw new Error("no");
      },
      {
        retry,
        recover: async (ctx) => {
          ctx.log.info(`recovered by ${version}`);
          return ctx.compensate();
        },
      },
    );
    const buy = coordinator("buy", async (ctx) => {
      await ctx.call(reserve, undefined);
      await ctx.sleep(10_000);
      await ctx.call(pay, undefined);
    });
    return [reserve, pay, buy];
  };

  test.each([
    ["", 0],
    [", also over a crash", 1],
  ])("its attempts, its recovery and its compensations%s", async (_when, crashes) => {
    t = await createTestPlatform({ application: applicationOf("old") });
    const run = await t.start("buy");
    await t.deploy(applicationOf("new"));
    // Between the first attempt and the second.
    await t.advance(10_500);
    for (let i = 0; i < crashes; i++) await t.crash();
    expect((await run.outcome()).status).toBe("failed");
    const [recovery] = await run.recoveries();
    const { runs } = await t.controlPlane.runs({ kind: "recovery" }, 5);
    expect(runs.map(({ id }) => id)).toEqual([recovery?.run]);
    const { logs } = await t.controlPlane.logs({ limit: 100 });
    const texts = logs.flatMap(({ lines }) => lines.map(({ text }) => text));
    expect(texts.sort()).toEqual(["attempt 1 by old", "attempt 2 by old", "recovered by old", "undone by old"]);
  });
});

describe("P8: a PUT that would start a run", () => {
  test("is refused as long as there is no room for the run, and nothing of it is stored; others are taken", async () => {
    const wait = coordinator("wait", async (ctx, _: unknown) => ctx.signal("go"), { on: { object: { bucket: "orders", prefix: "in/" } } });
    t = await createTestPlatform({ application: [bucket("orders"), wait], limits: { maxLiveRuns: 2 } });
    const [first] = await t.put("orders", "in/1", "one");
    await t.put("orders", "in/2", "two");
    await expect(t.put("orders", "in/3", "three")).rejects.toMatchObject({
      code: "OVERLOADED",
      details: { retryAfterMs: expect.any(Number) },
    });
    expect(await t.put("orders", "elsewhere/3", "three")).toEqual([]);
    const { objects } = await t.controlPlane.objects.list("orders", {});
    expect(objects.map(({ key }) => key)).toEqual(["elsewhere/3", "in/1", "in/2"]);
    expect(await t.runs(wait)).toHaveLength(2);
    await first?.signal("go");
    expect(await t.put("orders", "in/3", "three")).toHaveLength(1);
  });
});
