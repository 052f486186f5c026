import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform, type TestPlatformOptions } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const open = async (options: Partial<TestPlatformOptions>, ...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20, ...options });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const write = (key: string, value: unknown) => t.controlPlane.state.write("application", { key, value: JSON.stringify(value) });
const stored = async (key: string) => (await t.controlPlane.state.get("application", key)).value;

/** Leaves `orders/1` stale. */
const spoil = fn(
  "spoil",
  async (_: undefined, ctx) => {
    await ctx.state.set("orders/1", "spoilt");
    throw new TerminalError("no");
  },
  { retry: { onExhausted: "fail" } },
);
const good = { set: false };

describe("a coordinator that waits for a fresh value", () => {
  test("and is suspended meanwhile gets it once, however long the suspension lasts", async () => {
    good.set = false;
    const flaky = fn(
      "flaky",
      () => {
        if (!good.set) throw new Error("not yet");
        return "paid";
      },
      { retry: { attempts: 1 } },
    );
    const buy = coordinator("buy", async (ctx) => {
      await ctx.call(spoil, undefined).catch(() => undefined);
      const [order, paid] = await Promise.all([ctx.state.get<string>("orders/1", { stale: "wait" }), ctx.call(flaky, undefined)]);
      return [order.value, paid];
    });
    await open({ limits: { evictAfterMs: 5_000 } }, spoil, flaky, buy);
    const run = await t.start(buy);
    expect((await run.outcome()).status).toBe("suspended");
    await t.advance(60_000);
    // Brings it back, if it has left memory.
    await t.controlPlane.signal(run.id, "unasked", "1");
    await write("orders/1", "right");
    await t.advance(1_000);
    good.set = true;
    await t.controlPlane.resume(run.id);
    expect(await run.result()).toEqual(["right", "paid"]);
    const done = (await run.journal()).filter((record) => record.t === "done" && record.seq === 2);
    expect(done).toHaveLength(1);
  });

  test("and is cancelled stops waiting", async () => {
    const wait = coordinator("wait", async (ctx) => {
      await ctx.call(spoil, undefined).catch(() => undefined);
      return (await ctx.state.get<string>("orders/1", { stale: "wait" })).value;
    });
    await open({}, spoil, wait);
    const run = await t.start(wait);
    await t.settle();
    await t.controlPlane.cancel(run.id, { reason: "enough" });
    expect(await run.outcome()).toMatchObject({ status: "cancelled" });
    await write("orders/1", "right");
  });

  test("survives a crash and gets it then", async () => {
    const wait = coordinator("wait", async (ctx) => {
      await ctx.call(spoil, undefined).catch(() => undefined);
      return (await ctx.state.get<string>("orders/1", { stale: "wait" })).value;
    });
    await open({}, spoil, wait);
    const run = await t.start(wait);
    await t.crash();
    await write("orders/1", "right");
    expect(await run.result()).toBe("right");
  });
});

test("a write that is held up is not made once its run was cancelled", async () => {
  const held = Promise.withResolvers<void>();
  let attempts = 0;
  // It loses three times; then it goes before others, and keeps them from changing what it has read.
  const hold = fn<void, void>(
    "hold",
    async (_, ctx) => {
      const { value } = await ctx.state.get<number>("counters/k");
      attempts++;
      if (attempts > 3) await held.promise;
      else await write("counters/k", attempts * 10);
      await ctx.state.set("counters/k", (value ?? 0) + 1);
    },
    { timeoutMs: 600_000 },
  );
  const setter = coordinator("setter", async (ctx) => {
    await ctx.state.set("counters/k", 1_000);
  });
  await open({}, hold, setter);
  const holding = await t.start(hold);
  await t.advance(1_000);
  expect(attempts).toBe(4);
  const setting = await t.start(setter);
  await t.advance(1_000);
  expect(await stored("counters/k")).toBe("30");
  await t.controlPlane.cancel(setting.id, { reason: "enough" });
  expect(await setting.outcome()).toMatchObject({ status: "cancelled" });
  held.resolve();
  await holding.result();
  await t.advance(1_000);
  expect(await stored("counters/k")).toBe("31");
});
