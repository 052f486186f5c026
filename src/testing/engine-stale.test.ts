import { type CoordinatorContext, coordinator, fn, StaleStateError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const open = async (...application: unknown[]): Promise<void> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const write = fn(
  "write",
  async ({ key, fails }: { key: string; fails?: boolean }, ctx) => {
    await ctx.state.set(key, "written");
    if (fails) throw new TypeError("no");
  },
  { retry: { attempts: 1 } },
);
const read = fn("read", async (key: string, ctx) => (await ctx.state.get<string>(key, { stale: "allow" })).value);

describe("a coordinator that has read a value", () => {
  const watch = async (ctx: CoordinatorContext, how: "itself" | "by a function"): Promise<unknown[]> => {
    const told: unknown[] = [];
    ctx.onStale((key, { function: writer, fault }) => void told.push({ key, writer, fault }));
    if (how === "itself") await ctx.state.get("orders/17");
    else await ctx.call(read, "orders/17");
    await ctx.signal("look");
    return told;
  };
  const watcher = coordinator("watcher", watch);

  test.each(["itself", "by a function"] as const)(
    "%s, is told when it becomes stale, also after a crash, and in a replay again",
    async (how) => {
      await open(write, read, watcher);
      await t.call(write, { key: "orders/17" });
      const run = await t.start(watcher, how);
      await t.advance(60_000);
      await t.crash();
      await (await t.start(write, { key: "orders/17", fails: true })).outcome();
      await t.crash();
      await run.signal("look");
      expect(await run.result()).toEqual([{ key: "orders/17", writer: "write", fault: "execution" }]);
    },
  );

  test("is not told of values that it has not read", async () => {
    await open(write, read, watcher);
    const run = await t.start(watcher, "itself");
    await (await t.start(write, { key: "orders/18", fails: true })).outcome();
    await run.signal("look");
    expect(await run.result()).toEqual([]);
  });

  test("fails when what it does then throws", async () => {
    const strict = coordinator("strict", async (ctx) => {
      ctx.onStale((key) => {
        throw new Error(`${key} can't be trusted`);
      });
      await ctx.call(read, "orders/17");
      await ctx.signal("never");
    });
    await open(write, read, strict);
    const run = await t.start(strict);
    await (await t.start(write, { key: "orders/17", fails: true })).outcome();
    expect(await run.outcome()).toMatchObject({ status: "failed", failure: { message: "orders/17 can't be trusted" } });
  });
});

describe("a coordinator's own state", () => {
  test("is written in order, each operation once, whenever the control plane dies", async () => {
    const count = coordinator("count", async (ctx) => {
      for (let i = 0; i < 3; i++) await ctx.state.update<number>("counters/a", (value) => (value ?? 0) + 1);
      await ctx.state.set("counters/b", 5, { ttlMs: 1_000 });
      await ctx.state.delete("counters/c");
      return {
        a: (await ctx.state.get("counters/a")).value,
        listed: (await ctx.state.list("counters/")).map(({ key, value }) => [key, value]),
      };
    });
    for (let commit = 1; ; commit++) {
      await open(count);
      t.crashAtCommit(commit, commit % 2 === 0 ? "before" : "after");
      const result = await (await t.start(count, undefined, { key: "once" })).result();
      expect(result).toEqual({
        a: 3,
        listed: [
          ["counters/a", 3],
          ["counters/b", 5],
        ],
      });
      if (t.crashes === 0) break;
      expect((await t.audit()).repaired).toBe(0);
      await t.stop();
    }
  });

  test("that is stale is refused, allowed or waited for", async () => {
    const reader = coordinator("reader", async (ctx, key: string) => {
      const refused = await ctx.state.get(key).catch((error: unknown) => (error instanceof StaleStateError ? error.stale.function : error));
      const allowed = (await ctx.state.get(key, { stale: "allow" })).freshness.stale;
      const waited = await ctx.state.get(key, { stale: "wait" });
      return { refused, allowed, waited: waited.value };
    });
    await open(write, reader);
    await (await t.start(write, { key: "orders/1", fails: true })).outcome();
    const run = await t.start(reader, "orders/1");
    await t.advance(60_000);
    await t.crash();
    expect((await run.get()).waitingFor).toEqual(['state get of "orders/1"']);
    await t.call(write, { key: "orders/1" });
    expect(await run.result()).toEqual({ refused: "write", allowed: true, waited: "written" });
  });
});
