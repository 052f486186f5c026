import { check, coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Definition } from "../application/definitions.ts";

type Platform = Awaited<ReturnType<typeof createTestPlatform>>;

const platforms: Platform[] = [];

const platformOf = async (application: readonly unknown[]): Promise<Platform> => {
  const platform = await createTestPlatform({ application: application as readonly Definition[] });
  platforms.push(platform);
  return platform;
};

afterEach(async () => {
  for (const platform of platforms.splice(0)) await platform.stop();
});

const faultsOf = async (t: Platform) =>
  (await t.events()).flatMap((event) => (event.type === "fault.detected" || event.type === "fault.repaired" ? [event] : []));

describe("a function with trust compare", () => {
  test("is executed by two pods, and has the outcome that both have told", async () => {
    const double = vi.fn((n: number) => 2 * n);
    const t = await platformOf([fn("double", double, { trust: "compare" })]);
    expect(await t.call("double", 21)).toBe(42);
    expect(double).toHaveBeenCalledTimes(2);
    expect(await faultsOf(t)).toEqual([]);
  });

  test("fails when both pods have told the same failure, once for both", async () => {
    const pay = vi.fn(() => {
      throw Object.assign(new TerminalError("no money"), { code: "NO_MONEY", details: { left: 3 } });
    });
    const t = await platformOf([fn("pay", pay, { trust: "compare" })]);
    await expect(t.call("pay", undefined)).rejects.toMatchObject({ code: "NO_MONEY", message: "no money" });
    expect(pay).toHaveBeenCalledTimes(2);
  });

  test("is outvoted when one pod lies: the caller has the right answer, and the liar is replaced and named", async () => {
    let executions = 0;
    const sum = fn("sum", ({ a, b }: { a: number; b: number }) => ({ total: ++executions === 2 ? a + b + 1 : a + b }), {
      trust: "compare",
    });
    const t = await platformOf([sum]);
    expect(await t.call(sum, { a: 1, b: 2 })).toEqual({ total: 3 });
    expect(executions).toBe(3);
    const [detected, repaired] = await faultsOf(t);
    expect(detected).toMatchObject({ kind: "I", what: "lie", function: "sum", pod: expect.any(String) });
    expect(detected).toMatchObject({
      detail: expect.stringMatching(/^its outcome of call run_\w+\/1 is not that of pod-\d+ and pod-\d+; it differs at value\.total$/),
    });
    expect(repaired).toMatchObject({
      type: "fault.repaired",
      did: expect.stringMatching(/^its calls are compared by pod-\d+ and pod-\d+$/),
    });
    expect(await t.call(sum, { a: 2, b: 2 })).toEqual({ total: 4 });
    expect(executions).toBe(5);
  });

  test("fails when all three pods differ, names the field, and accuses nobody", async () => {
    let executions = 0;
    const odd = fn("odd", () => ({ at: ++executions }), { trust: "compare" });
    const t = await platformOf([odd]);
    await expect(t.call(odd, undefined)).rejects.toMatchObject({
      code: "REPLICAS_DIVERGED",
      message: expect.stringMatching(
        /^the pods of "odd" came to 3 different results: pod-\d+, pod-\d+ and pod-\d+; the first two differ at value\.at$/,
      ),
    });
    expect(executions).toBe(3);
    expect(await faultsOf(t)).toEqual([]);
  });

  test("is the same for both whatever the order of an object's fields", async () => {
    let executions = 0;
    const swap = fn("swap", () => (++executions === 1 ? { a: 1, b: [2] } : { b: [2], a: 1 }), { trust: "compare" });
    const t = await platformOf([swap]);
    expect(await t.call(swap, undefined)).toEqual({ a: 1, b: [2] });
    expect(executions).toBe(2);
  });

  test.each([
    ["reads state", (ctx: never) => (ctx as { state: { get(key: string): Promise<unknown> } }).state.get("orders/1")],
    ["writes state", (ctx: never) => (ctx as { state: { set(key: string, value: unknown): Promise<unknown> } }).state.set("orders/1", 1)],
    ["lists objects", (ctx: never) => (ctx as { objects: { list(bucket: string): Promise<unknown> } }).objects.list("orders")],
  ])("may not have code that %s", async (_, use) => {
    const t = await platformOf([fn("use", async (_input: unknown, ctx) => void (await use(ctx as never)), { trust: "compare" })]);
    await expect(t.call("use", undefined)).rejects.toMatchObject({
      code: "ACCESS_DENIED",
      message: expect.stringContaining('with trust "compare": its calls are executed more than once'),
    });
    expect(await t.state("orders/1")).toMatchObject({ version: 0 });
  });

  test("gives up both executions when the call takes too long, and executes the next attempt", async () => {
    let executions = 0;
    let aborted = 0;
    const slow = fn(
      "slow",
      async (_input: unknown, ctx) => {
        if (++executions > 2) return ctx.attempt;
        await new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => resolve()));
        aborted++;
        return 0;
      },
      { trust: "compare", timeoutMs: 1_000, retry: { attempts: 2, backoff: { initialMs: 10 } } },
    );
    const t = await platformOf([slow]);
    const run = await t.start(slow, 0);
    await t.advance(5_000);
    expect(await run.result()).toBe(2);
    expect({ executions, aborted }).toEqual({ executions: 4, aborted: 2 });
    expect(await faultsOf(t)).toEqual([]);
  });

  test("is executed by another pod when one of its pods dies, in the same attempt", async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let executions = 0;
    const wait = fn(
      "wait",
      async (_input: unknown, ctx) => {
        executions++;
        await gate;
        return ctx.attempt;
      },
      { trust: "compare" },
    );
    const t = await platformOf([wait]);
    const run = await t.start(wait, 0);
    expect(await run.status()).toBe("running");
    await t.killPod(wait);
    release();
    expect(await run.result()).toBe(1);
    expect(executions).toBe(3);
    expect(await faultsOf(t)).toMatchObject([{ what: "crash", calls: 1 }, { type: "fault.repaired" }]);
  });

  test("fails in an attempt when the testing kit lets that attempt fail, as with one pod", async () => {
    const pay = vi.fn((_input: unknown, ctx: { attempt: number }) => ctx.attempt);
    const definition = fn("pay", pay, { trust: "compare", retry: { backoff: { initialMs: 10 } } });
    const t = await platformOf([definition]);
    t.failOnce(definition, new Error("closed"));
    const run = await t.start(definition, 0);
    await t.advance(1_000);
    expect(await run.result()).toBe(2);
    expect(pay).toHaveBeenCalledTimes(2);
    expect(await faultsOf(t)).toEqual([]);
  });

  test("is checked and compensated like any other, each time by two pods", async () => {
    const undo = vi.fn();
    const test = vi.fn(({ output }: { output: unknown }) => output === 1);
    const book = fn("book", () => 1, { trust: "compare", compensate: undo });
    const trip = coordinator("trip", async (ctx) => {
      await ctx.call(book, undefined);
      await ctx.compensate();
    });
    const t = await platformOf([book, trip, check({ watch: book, test })]);
    await t.run(trip, undefined);
    expect(test).toHaveBeenCalledTimes(2);
    expect(undo).toHaveBeenCalledTimes(2);
  });
});
