import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const open = async (...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const once = { retry: { attempts: 1 } };

describe("restarting a run", () => {
  test("reuses what was done before the call, with its time and its chance, and does the rest anew", async () => {
    const done: string[] = [];
    const work = fn("work", (what: string) => {
      done.push(what);
      return what.toUpperCase();
    });
    const trip = coordinator("trip", async (ctx, name: string) => {
      const begun = ctx.now();
      const key = ctx.uuid();
      const first = await ctx.call(work, `${name} ${begun} ${key}`);
      const step = await ctx.step("here", () => done.push("step"));
      await ctx.sleep(1_000);
      const second = await ctx.call(work, `second ${step}`);
      const third = await ctx.call(work, `third ${ctx.now()}`);
      return [first, second, third];
    });
    await open(work, trip);
    const old = await t.start(trip, "x");
    const before = await old.result();
    expect(done).toHaveLength(4);

    await t.advance(60_000);
    const { run, reused } = await old.restart({ from: 4 });
    expect(reused).toBe(3);
    expect(run.id).not.toBe(old.id);
    const after = await run.result();
    expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
    // The time of the third call is that of the new run.
    expect(after[2]).not.toBe(before[2]);
    expect(done.slice(4)).toEqual(["second 2", expect.stringContaining("third")]);
    expect((await run.journal())[0]).toMatchObject({ t: "restarted", of: old.id, from: 4, origin: { run: old.id } });
    expect((await run.get()).parent).toBeUndefined();

    // Of the new one, the beginning is still the first run's.
    const again = await run.restart({ from: 5 });
    expect(again.reused).toBe(4);
    expect((await again.run.result()).slice(0, 2)).toEqual(before.slice(0, 2));
    expect(done).toHaveLength(7);
  });

  test("without a call does everything anew, on the current version", async () => {
    const one = fn("one", () => 1);
    const sum = coordinator("sum", async (ctx) => (await ctx.call(one, undefined)) as number);
    await open(one, sum);
    const old = await t.start(sum);
    expect(await old.result()).toBe(1);
    await t.deploy([fn("one", () => 2), coordinator("sum", async (ctx) => ((await ctx.call("one")) as number) + 10)]);
    const { run, reused } = await old.restart();
    expect(reused).toBe(0);
    expect(await run.result()).toBe(12);
    expect((await run.get()).version).not.toBe((await old.get()).version);
  });

  test("survives a crash right after it was accepted", async () => {
    let calls = 0;
    const pay = fn("pay", () => ++calls);
    const ship = fn("ship", (): string => "shipped");
    const order = coordinator("order", async (ctx) => `${await ctx.call(pay, undefined)} ${await ctx.call(ship, undefined)}`);
    await open(pay, ship, order);
    t.failOnce(ship, new TerminalError("no van"));
    const old = await t.start(order);
    expect((await old.outcome()).status).toBe("failed");
    const { run } = await old.restart({ from: 2 });
    await t.crash();
    expect(await run.result()).toBe("1 shipped");
    expect(calls).toBe(1);
  });

  test("of a suspended run leaves that as it is", async () => {
    const pay = fn("pay", (): string => Promise.reject(new Error("no")) as never, once);
    await open(pay);
    const old = await t.start(pay);
    expect((await old.outcome()).status).toBe("suspended");
    t.mock(pay, () => "paid");
    const { run } = await old.restart();
    expect(await run.result()).toBe("paid");
    expect(await old.status()).toBe("suspended");
    expect((await run.get()).kind).toBe("function");
  });

  test("of an expression keeps the values that it has", async () => {
    let doubled = 0;
    const double = fn("double", (x: number) => {
      doubled++;
      return x * 2;
    });
    const half = fn("half", (x: number) => x / 2);
    await open(double, half);
    const old = await t.startExpression("half(double(a))", { a: 4 });
    expect(await old.result()).toBe(4);
    const { run, reused } = await old.restart({ from: 2 });
    expect(reused).toBe(1);
    expect(await run.result()).toBe(4);
    expect(doubled).toBe(1);
  });

  test("with code that does something else at its beginning is told like any divergence", async () => {
    const a = fn("a", () => 1);
    const b = fn("b", () => 2);
    const walk = coordinator("walk", async (ctx) => [await ctx.call(a, undefined), await ctx.call(b, undefined)]);
    await open(a, b, walk);
    const old = await t.start(walk);
    await old.result();
    await t.deploy([a, b, coordinator("walk", async (ctx) => [await ctx.call(b, undefined), await ctx.call(a, undefined)])]);
    const { run } = await old.restart({ from: 2 });
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "REPLAY_DIVERGED" } });
  });

  test("of what is not there is refused", async () => {
    const a = fn("a", () => 1);
    await open(a);
    const old = await t.start(a);
    await old.result();
    await expect(old.restart({ from: 2 })).rejects.toMatchObject({ code: "CALL_NOT_FOUND", details: { call: 2 } });
    await expect(t.controlPlane.restart("run_00000000000")).rejects.toMatchObject({ code: "UNKNOWN_RUN" });
    await t.deploy([fn("other", () => 1)]);
    await expect(old.restart()).rejects.toMatchObject({ code: "UNKNOWN_FUNCTION" });
  });

  test("starts its own children where the old run's had not ended", async () => {
    const inner = coordinator("inner", async (ctx) => ctx.signal<string>("go"));
    const outer = coordinator("outer", async (ctx) => {
      const child = ctx.run(inner, undefined as never);
      const first = await ctx.signal<string>("first");
      return `${first} ${await child}`;
    });
    await open(inner, outer);
    const old = await t.start(outer);
    await old.signal("first", "1");
    const { run, reused } = await old.restart({ from: 2 });
    expect(reused).toBe(0);
    const child = (await run.journal()).find((record) => record.t === "child") as { child: string };
    expect(child.child).not.toBe(((await old.journal()).find((record) => record.t === "child") as { child: string }).child);
    await t.controlPlane.signal(child.child, "go", '"2"');
    await run.signal("first", "one");
    expect(await run.result()).toBe("one 2");
    await old.cancel();
  });
});

describe("bulk repair", () => {
  test("tells what it would do, then gives dead letters of one function fresh attempts and leaves the others", async () => {
    const pay = fn("pay", (): string => Promise.reject(new Error("no bank")) as never, once);
    let vans = 0;
    const ship = fn("ship", (): string => Promise.reject(new Error(`no van: ${++vans}`)) as never, once);
    const both = coordinator("both", async (ctx) => Promise.all([ctx.call(pay, undefined), ctx.call(ship, undefined)]));
    await open(pay, ship, both);
    const [paying, shipping, two] = [await t.start(pay), await t.start(ship), await t.start(both)];
    for (const run of [paying, shipping, two]) expect((await run.outcome()).status).toBe("suspended");

    const dry = await t.controlPlane.repair({ function: "pay" }, true);
    expect(dry).toEqual([
      { run: two.id, name: "both", functions: ["pay", "ship"], failure: "FUNCTION_FAILED: no bank" },
      { run: paying.id, name: "pay", functions: ["pay"], failure: "FUNCTION_FAILED: no bank" },
    ]);
    expect(await paying.status()).toBe("suspended");

    t.mock(pay, () => "paid");
    expect(await t.controlPlane.repair({ function: "pay" }, false)).toEqual(dry);
    expect(await paying.result()).toBe("paid");
    expect((await two.outcome()).failure).toMatchObject({ message: expect.stringContaining("no van") });
    expect(vans).toBe(2);
    expect(await shipping.status()).toBe("suspended");

    t.mock(ship, () => "shipped");
    const rest = await t.controlPlane.repair({}, false);
    expect(rest.map(({ run }) => run)).toEqual([two.id, shipping.id]);
    expect(await two.result()).toEqual(["paid", "shipped"]);
    expect(await t.controlPlane.repair({}, false)).toEqual([]);
  });

  test("keeps to its limit, its name and its time", async () => {
    const pay = fn("pay", (): string => Promise.reject(new Error("no bank")) as never, once);
    const buy = coordinator("buy", async (ctx) => ctx.call(pay, undefined));
    await open(pay, buy);
    const old = await t.start(buy);
    await old.outcome();
    await t.advance(60_000);
    const since = t.now();
    const runs = [await t.start(buy), await t.start(buy), await t.start(pay)];
    for (const run of runs) await run.outcome();
    const found = async (filter: object): Promise<string[]> => (await t.controlPlane.repair(filter, true)).map(({ run }) => run);
    expect(await found({ name: "buy", since })).toEqual([runs[1]?.id, runs[0]?.id]);
    expect(await found({ limit: 1 })).toEqual([runs[2]?.id]);
    expect(await found({ function: "none" })).toEqual([]);
    expect((await found({ name: "buy" })).at(-1)).toBe(old.id);
  });

  test("also reaches runs that have left memory, and leaves out what somebody else has changed", async () => {
    const pay = fn("pay", (): string => Promise.reject(new Error("no bank")) as never, once);
    await open(pay);
    const run = await t.start(pay);
    await run.outcome();
    await t.advance(3_600_000);
    await t.crash();
    t.mock(pay, () => "paid");
    const dry = await t.controlPlane.repair({ function: "pay" }, true);
    await run.resume();
    expect(await run.result()).toBe("paid");
    expect(dry).toHaveLength(1);
    expect(await t.controlPlane.repair({ function: "pay" }, false)).toEqual([]);
  });
});

test("what recovery decides is visible in the run of the test", async () => {
  const pay = fn("pay", (x: number): string => Promise.reject(new Error(`no ${x}`)) as never, {
    ...once,
    recover: (ctx, { recoveries }) => (recoveries === 0 ? ctx.retry({ input: 2 }) : ctx.escalate("look at it")),
  });
  await open(pay);
  const run = await t.start(pay, 1);
  expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "ESCALATED", message: "look at it" } });
  await run.resolve({ value: "by hand", by: "ada" });
  expect(await run.result()).toBe("by hand");
  expect(await run.recoveries()).toMatchObject([
    { call: 1, run: expect.stringMatching(/^run_/), failure: { message: "no 1" }, decision: { t: "retry", input: "2" } },
    { call: 1, failure: { message: "no 2" }, decision: { t: "escalate" } },
    { call: 1, decision: { t: "resume", value: '"by hand"' }, by: "ada" },
  ]);
});
