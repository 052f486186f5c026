import { type CoordinatorContext, coordinator, fn } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";
import type { Recover } from "../application/context.ts";
import type { StandardSchemaV1 } from "../application/standard-schema.ts";

const pay = fn("pay", (amount: number) => amount, { retry: { onExhausted: "fail" } });
const ship = fn("ship", (amount: number) => `shipped ${amount}`);

/** An application whose one coordinator does this. */
const booking = (handler: (ctx: CoordinatorContext, amount: number) => Promise<unknown>, input?: StandardSchemaV1<unknown, number>) => [
  pay,
  ship,
  coordinator("booking", handler, input === undefined ? {} : { input }),
];
const original = booking(async (ctx, amount) => {
  const paid = await ctx.call(pay, amount);
  await ctx.sleep(3_600_000);
  return ctx.call(ship, paid);
});

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const failures = async (application: Parameters<TestPlatform["check"]>[0]) =>
  (await t.check(application)).map(({ name, failure }) => [name, failure?.code]);

describe("a check of new code", () => {
  test("tells which unfinished runs would diverge from it, and changes nothing", async () => {
    t = await createTestPlatform({ application: original });
    const run = await t.start("booking", 5);
    await t.start("booking", 6);
    const before = await run.journal();
    expect(await failures(original)).toEqual([
      ["booking", undefined],
      ["booking", undefined],
    ]);
    const changed = booking(async (ctx, amount) => {
      await ctx.call(ship, amount);
      return "done";
    });
    const [first] = await t.check(changed);
    expect(first).toMatchObject({ name: "booking", failure: { code: "REPLAY_DIVERGED", message: expect.stringContaining("step 1") } });
    expect(await run.journal()).toEqual(before);
    expect((await t.controlPlane.applications()).length).toBe(1);
    expect(t.controlPlane.pods().some(({ role }) => role === "rehearsal")).toBe(false);
    expect(await run.result()).toBe("shipped 5");
  });

  test("finds runs that have left memory, those that are suspended, and children; not those that have finished", async () => {
    const failing = fn("failing", (): Promise<number> => Promise.reject(new Error("no")), { retry: { attempts: 1 } });
    const child = coordinator("child", (ctx: CoordinatorContext) => ctx.signal("never"));
    const parent = coordinator("parent", (ctx: CoordinatorContext) => ctx.run(child, undefined));
    const dead = coordinator("dead", (ctx: CoordinatorContext) => ctx.call(failing, undefined));
    const quick = coordinator("quick", async () => 1);
    const application = [failing, child, parent, dead, quick];
    t = await createTestPlatform({ application, limits: { evictAfterMs: 100 } });
    for (const name of ["parent", "dead", "quick"]) await t.start(name);
    await t.advance(10_000);
    expect((await failures(application)).sort()).toEqual([
      ["child", undefined],
      ["dead", undefined],
      ["parent", undefined],
    ]);
    expect((await failures([failing, parent, dead, quick])).sort()).toEqual([
      ["child", "UNKNOWN_COORDINATOR"],
      ["dead", undefined],
      ["parent", undefined],
    ]);
  });

  test("is of one application's runs", async () => {
    t = await createTestPlatform({ application: original });
    await t.start("booking", 5);
    const other = [coordinator("other", async () => 1)];
    expect(await t.check(other, "another")).toEqual([]);
    await expect(t.check(original, "another")).rejects.toMatchObject({ code: "NAME_TAKEN" });
  });

  test("tells of a run that a deployed version would not replay after a crash either, and so does the crash", async () => {
    t = await createTestPlatform({ application: original });
    const run = await t.start("booking", 5);
    const changed = booking((ctx, amount) => ctx.call(ship, amount));
    expect((await t.check(changed)).map(({ failure }) => failure?.message)).toEqual([expect.stringContaining("step 1")]);
    t.replaceCode(changed);
    await t.crash();
    await t.advance(1_000);
    expect(await run.status()).toBe("suspended");
    expect((await failures(original))[0]).toEqual(["booking", undefined]);
    await run.cancel("the test is over");
  });

  test("of code that hangs in a replay ends in bounded time, and tells of the others too", async () => {
    t = await createTestPlatform({ application: original, limits: { coordinatorTurnMs: 500 } });
    for (let amount = 1; amount <= 5; amount++) await t.start("booking", amount);
    const hanging: StandardSchemaV1<unknown, number> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (amount) => (amount === 3 ? new Promise(() => {}) : { value: amount as number }),
      },
    };
    const checking = t.check(
      booking(async (ctx, amount) => {
        await ctx.call(pay, amount);
        return ctx.sleep(3_600_000);
      }, hanging),
    );
    await t.advance(2_000);
    expect((await checking).map(({ failure }) => failure?.code)).toEqual([undefined, undefined, "COORDINATOR_STUCK", undefined, undefined]);
  });

  test("does not wait for each of many runs whose replays hang", async () => {
    t = await createTestPlatform({ application: original, limits: { coordinatorTurnMs: 500 } });
    for (let amount = 1; amount <= 20; amount++) await t.start("booking", amount);
    const hanging: StandardSchemaV1<unknown, number> = {
      "~standard": { version: 1, vendor: "test", validate: () => new Promise(() => {}) },
    };
    const checking = t.check(booking(async () => {}, hanging));
    await t.advance(3 * 500 + 100);
    const found = await checking;
    expect(found.map(({ failure }) => failure?.code)).toEqual(new Array(20).fill("COORDINATOR_STUCK"));
    expect(found.at(-1)?.failure?.message).toContain("was not replayed");
  });

  test("goes on in other pods when its pods die through no fault of the code", async () => {
    t = await createTestPlatform({ application: original });
    await t.start("booking", 5);
    const killed: Promise<string>[] = [];
    // The first is lost while it loads, the second while it replays.
    t.disturb((message) => {
      if (message.t !== (["load", "rehearse"] as const)[killed.length]) return undefined;
      killed.push(t.killPod("rehearsal"));
      return "lose";
    });
    expect(await failures(original)).toEqual([["booking", undefined]]);
    expect(new Set(await Promise.all(killed)).size).toBe(2);
  });

  test("is also of recoveries that are under way, with what they know of the failure", async () => {
    const recovering = (handler: Recover) => [
      fn("broken", (): Promise<number> => Promise.reject(new Error("no")), { retry: { attempts: 1 }, recover: handler }),
      coordinator("caller", (ctx: CoordinatorContext) => ctx.call("broken")),
      ship,
    ];
    const original: Recover = async (ctx, failure) => {
      await ctx.call(ship, failure.failure.message.length);
      return ctx.resumeWith(await ctx.signal("answer"));
    };
    t = await createTestPlatform({ application: recovering(original) });
    const run = await t.start("caller");
    await t.advance(5_000);
    expect((await failures(recovering(original))).sort()).toEqual(
      expect.arrayContaining([
        ["caller", undefined],
        ["function/broken", undefined],
      ]),
    );
    const changed = await t.check(recovering(async (ctx) => ctx.resumeWith(await ctx.signal("other"))));
    expect(changed.find(({ name }) => name === "function/broken")?.failure).toMatchObject({
      code: "REPLAY_DIVERGED",
      message: expect.stringContaining("step 1"),
    });
    expect((await failures([recovering(original)[1]!])).find(([name]) => name === "function/broken")).toEqual([
      "function/broken",
      "UNKNOWN_COORDINATOR",
    ]);
    await run.cancel("the test is over");
  });

  test("refuses what doesn't load, as a deployment would", async () => {
    t = await createTestPlatform({ application: original });
    await expect(t.check({ default: 7 })).rejects.toMatchObject({ code: "APPLICATION_INVALID" });
  });

  test("executes no step", async () => {
    const steps: string[] = [];
    const stepping = (label: string) =>
      booking(async (ctx, amount) => {
        await ctx.call(pay, amount);
        await ctx.step("note", () => steps.push(label));
        return ctx.sleep(3_600_000);
      });
    t = await createTestPlatform({ application: stepping("first") });
    await t.start("booking", 1);
    expect(await failures(stepping("second"))).toEqual([["booking", undefined]]);
    expect(steps).toEqual(["first"]);
  });
});
