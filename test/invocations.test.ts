/** State and objects of functions in real pods, over real connections. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { createSandbox } from "./support/sandbox.ts";

const sandbox = createSandbox();
let platform: PlatformProcess;

const APPLICATION = `
  import { bucket, check, coordinator, fn, StaleStateError, table } from "lockstep";
  export const orders = bucket("orders");
  export const counters = table("counters");
  export const count = fn("count", async (key: string, ctx) => {
    await ctx.state.table(counters).update(key, (n) => ((n as number) ?? 0) + 1);
  });
  export const many = coordinator("many", async (ctx, calls: number) => {
    await Promise.all(Array.from({ length: calls }, (_, i) => ctx.call(count, "k" + (i % 5))));
  });
  export const total = fn("total", async (_: unknown, ctx) =>
    (await ctx.state.list("counters/")).reduce((sum, { value }) => sum + (value as number), 0));
  export const store = fn("store", async (megabytes: number, ctx) => {
    const parts = async function* () { for (let i = 0; i < megabytes; i++) yield Buffer.alloc(1024 * 1024, i); };
    const { size } = await ctx.objects.put("orders", "large", parts());
    return size;
  });
  export const fetch = fn("fetch", async (_: unknown, ctx) => {
    const sums: number[] = [];
    let size = 0;
    for await (const chunk of await ctx.objects.get("orders", "large")) {
      size += chunk.length;
      sums.push(chunk[0]!);
    }
    return [size, sums[0], sums.at(-1)];
  });
  export const pay = fn("pay", async (_: unknown, ctx) => {
    await ctx.state.set("payments/1", 5);
    throw new TypeError("no card");
  }, { retry: { attempts: 1, onExhausted: "fail" } });
  export const look = fn("look", async (_: unknown, ctx) => {
    try { return (await ctx.state.get("payments/1")).value; }
    catch (error) { return error instanceof StaleStateError ? [error.name, error.stale.function, error.stale.fault] : String(error); }
  });
  export const held = fn("held", async (_: unknown, ctx) => { await ctx.state.get("payments/1"); }, { permissions: { state: ["read:orders/*"] } });
  export const checked = fn("checked", (x: number) => x);
  export const positive = check({ watch: checked, test: ({ output }) => output > 0 });
`;

beforeAll(async () => {
  platform = await startPlatformProcess(sandbox);
  await platform.deploy(sandbox.write("shop/index.ts", APPLICATION), "shop");
});

afterAll(() => sandbox.dispose());

const call = async (name: string, input: unknown = null): Promise<unknown> => platform.client.call(name, input);

test("what many calls count adds up exactly, also when their pods die", async () => {
  const run = await platform.client.start("many", 1_000);
  const killed = new Set<number>();
  await eventually("three pods were killed", async () => {
    const { pid } = await platform.pod("count");
    // One that was killed is listed until its end is noticed.
    if (!killed.has(pid)) process.kill(pid, "SIGKILL");
    return killed.add(pid).size === 3;
  });
  await run.result({ timeoutMs: 30_000 });
  expect(await call("total")).toBe(1_000);
});

test("an object that is larger than any message goes through in chunks, both ways", async () => {
  expect(await call("store", 20)).toBe(20 * 1024 * 1024);
  expect(await call("fetch")).toEqual([20 * 1024 * 1024, 0, 19]);
});

test("the reader of a value whose writer failed catches a StaleStateError", async () => {
  await expect(call("pay")).rejects.toMatchObject({ code: "FUNCTION_FAILED" });
  expect(await call("look")).toEqual(["StaleStateError", "pay", "execution"]);
});

test("permissions and checks hold in real pods", async () => {
  await expect(call("held")).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  expect(await call("checked", 5)).toBe(5);
});
