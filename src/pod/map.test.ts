import { describe, expect, test } from "vitest";
import { beginOf, CoordinatorPod, RUN } from "../../test/support/coordinator-pod.ts";
import type { CoordinatorContext } from "../application/context.ts";
import { coordinator, fn } from "../application/definitions.ts";
import { CallError, CancelledError } from "../application/errors.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { type MapRequest, mapItems } from "./map.ts";

/** Calls that the test ends, and what has become of the whole. */
const setUp = (items: number, options?: MapRequest) => {
  const begun: number[] = [];
  const calls: { resolve: (value: string) => void; reject: (error: unknown) => void }[] = [];
  const begin = (item: string, index: number): Promise<string> => {
    begun.push(index);
    expect(item).toBe(`item ${index}`);
    return new Promise((resolve, reject) => {
      calls[index] = { resolve, reject };
    });
  };
  const ended: { value?: unknown; error?: unknown } = {};
  mapItems(
    Array.from({ length: items }, (_, i) => `item ${i}`),
    begin,
    options,
  ).then(
    (value) => Object.assign(ended, { value }),
    (error: unknown) => Object.assign(ended, { error }),
  );
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const succeed = (index: number) => {
    calls[index]!.resolve(`result ${index}`);
    return settle();
  };
  const fail = (index: number, error: unknown = new CallError({ code: "FUNCTION_FAILED", message: `no ${index}` })) => {
    calls[index]!.reject(error);
    return settle();
  };
  return { begun, ended, succeed, fail, settle };
};

describe("mapItems", () => {
  test("begins all at once unless told otherwise, and gives the results in the order of the items", async () => {
    const { begun, ended, succeed } = setUp(3);
    expect(begun).toEqual([0, 1, 2]);
    for (const index of [2, 0, 1]) await succeed(index);
    expect(ended).toEqual({ value: ["result 0", "result 1", "result 2"] });
  });

  test("begins the items in order, each when an earlier one has ended", async () => {
    const { begun, ended, succeed } = setUp(5, { concurrency: 2 });
    expect(begun).toEqual([0, 1]);
    await succeed(1);
    expect(begun).toEqual([0, 1, 2]);
    await succeed(2);
    await succeed(0);
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    await succeed(4);
    expect(ended).toEqual({});
    await succeed(3);
    expect(ended.value).toHaveLength(5);
  });

  test("of nothing gives nothing", async () => {
    const { ended, settle } = setUp(0, { concurrency: 3 });
    await settle();
    expect(ended).toEqual({ value: [] });
  });

  test("rejects with the first failure as it is, and begins nothing further", async () => {
    const { begun, ended, succeed, fail } = setUp(5, { concurrency: 2 });
    await fail(1);
    expect(ended.error).toBeInstanceOf(CallError);
    await succeed(0);
    expect(begun).toEqual([0, 1]);
  });

  test("leaves no rejection unhandled when others fail later", async () => {
    const { ended, fail } = setUp(3);
    for (const index of [0, 1, 2]) await fail(index);
    expect(ended.error).toMatchObject({ message: "no 0" });
  });

  test("tolerates so many failures and gives an outcome for each item", async () => {
    const { begun, ended, succeed, fail } = setUp(4, { concurrency: 1, tolerateFailures: 2 });
    await succeed(0);
    await fail(1);
    await fail(2, "just text");
    expect(begun).toEqual([0, 1, 2, 3]);
    await succeed(3);
    expect(ended.value).toMatchObject([
      { ok: true, value: "result 0" },
      { ok: false, error: { message: "no 1" } },
      { ok: false, error: new Error("just text") },
      { ok: true, value: "result 3" },
    ]);
  });

  test.each([0, 1])("rejects as soon as more than %i have failed, and says how many did", async (tolerateFailures) => {
    const { begun, ended, fail } = setUp(5, { concurrency: 1, tolerateFailures });
    for (let index = 0; index <= tolerateFailures; index++) await fail(index);
    const failed = tolerateFailures + 1;
    expect(ended.error).toMatchObject({
      code: "MAP_FAILED",
      message: `ctx.map: ${failed} of 5 items failed, and ${tolerateFailures} may; the first was item 0: no 0`,
      details: { failed, tolerated: tolerateFailures, items: 5, indexes: Array.from({ length: failed }, (_, i) => i) },
      cause: { code: "FUNCTION_FAILED" },
    });
    expect(begun.length).toBe(failed);
  });

  test("tolerates no cancellation", async () => {
    const { begun, ended, fail } = setUp(5, { concurrency: 2, tolerateFailures: 5 });
    await fail(0, new CancelledError("enough"));
    expect(ended.error).toBeInstanceOf(CancelledError);
    expect(begun).toEqual([0, 1]);
  });

  test("takes what a function throws at once as its item's failure", async () => {
    const begin = (item: number): Promise<number> => {
      if (item === 2) throw new Error("two");
      return Promise.resolve(item);
    };
    await expect(mapItems([1, 2, 3], begin, undefined)).rejects.toThrow("two");
    await expect(mapItems([1, 2, 3], begin, { tolerateFailures: 1 })).resolves.toMatchObject([{ ok: true }, { ok: false }, { ok: true }]);
  });

  test("works on the items as they were given", async () => {
    const items = [1, 2, 3];
    const seen = mapItems(items, async (item) => item, { concurrency: 1 });
    items.length = 0;
    expect(await seen).toEqual([1, 2, 3]);
  });

  test.each([
    ["concurrency", { concurrency: 0 }],
    ["concurrency", { concurrency: 1.5 }],
    ["concurrency", { concurrency: "2" }],
    ["tolerateFailures", { tolerateFailures: -1 }],
    ["tolerateFailures", { tolerateFailures: null }],
    ["an object of options", 3],
    ["concurency", { concurency: 2 }],
  ])("refuses what can't be: %s", (name, options) => {
    expect(() => mapItems([1], async () => 1, options as MapRequest)).toThrow(TypeError);
    expect(() => mapItems([1], async () => 1, options as MapRequest)).toThrow(name);
  });

  test("refuses items that are no array", () => {
    expect(() => mapItems("abc" as never, async () => 1, undefined)).toThrow(TypeError);
  });
});

describe("ctx.map", () => {
  const double = fn("double", (n: number) => 2 * n);
  const podOf = (handler: (ctx: CoordinatorContext) => Promise<unknown>) => new CoordinatorPod([coordinator("it", handler)]);
  const called = (seq: number, input: number): JournalRecord => ({
    t: "call",
    seq,
    at: 900,
    fn: "double",
    version: "v1",
    input: `${input}`,
  });
  const done = (seq: number, value: number): JournalRecord => ({ t: "done", seq, at: 1_000 + seq, value: `${value}` });
  const call = (seq: number, input: number) => ({ t: "call", seq, fn: "double", input: `${input}` });

  test("calls a function for each item, in numbered commands", async () => {
    const pod = podOf((ctx) => ctx.map([10, 20, 30], double, { concurrency: 2 }));
    await pod.begin("it");
    expect(pod.commands()).toEqual([call(1, 10), call(2, 20)]);
    await pod.deliver(done(2, 40), done(1, 20), done(3, 60));
    expect(pod.commands().slice(2)).toEqual([call(3, 30), { t: "finish", value: "[20,40,60]" }]);
  });

  test("takes code of the coordinator, which gets item and index", async () => {
    const pod = podOf((ctx) => ctx.map([10, 20], async (n, index) => (await ctx.call(double, n)) + index));
    await pod.begin("it");
    await pod.deliver(done(1, 20), done(2, 40));
    expect(pod.commands().at(-1)).toEqual({ t: "finish", value: "[20,41]" });
  });

  test("goes on after a replay where it was, whatever had ended first", async () => {
    const pod = podOf((ctx) => ctx.map([10, 20, 30, 40], double, { concurrency: 2 }));
    const history = [called(1, 10), called(2, 20), done(2, 40), called(3, 30), done(1, 20)];
    await pod.take(beginOf("it", history));
    expect([pod.divergence(), pod.commands()]).toEqual([undefined, [call(4, 40)]]);
    await pod.take({ t: "deliver", run: RUN, record: done(4, 80) }, { t: "deliver", run: RUN, record: done(3, 60) });
    expect(pod.commands().at(-1)).toEqual({ t: "finish", value: "[20,40,60,80]" });
  });

  test("ends its run with what failed the whole", async () => {
    const pod = podOf((ctx) => ctx.map([10], double, { tolerateFailures: 0 }));
    await pod.begin("it");
    await pod.deliver({ t: "done", seq: 1, at: 1, failure: { code: "FUNCTION_FAILED", message: "no" } });
    expect(pod.commands().at(-1)).toMatchObject({ t: "finish", failure: { code: "MAP_FAILED", cause: { message: "no" } } });
  });

  test("refuses what is neither a function nor a definition", async () => {
    const pod = podOf((ctx) => ctx.map([10], 3 as never));
    await pod.begin("it");
    expect(pod.commands()).toMatchObject([{ t: "finish", failure: { message: expect.stringContaining("ctx.map needs a name") } }]);
  });
});
