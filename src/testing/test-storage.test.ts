import { bucket, fn, TerminalError } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

const orders = bucket("orders");

const keep = fn(
  "keep",
  async ({ object }: { object: { key: string } }, ctx) => {
    await ctx.state.set(`seen/${object.key}`, await (await ctx.objects.get("orders", object.key)).text());
    if (object.key.endsWith("bad")) throw new TerminalError("bad");
    return object.key;
  },
  { on: { object: { bucket: "orders", prefix: "in/" } } },
);

test("a test puts objects, and gets the runs that each has started", async () => {
  await using t = await createTestPlatform({ application: [orders, keep] });
  expect(await t.put(orders, "elsewhere", "nothing")).toEqual([]);
  const [first] = await t.put(orders, "in/1", { amount: 7 });
  const [second] = await t.put("orders", "in/1", new Uint8Array([104, 105]));
  expect(await first?.result()).toBe("in/1");
  expect(second?.id).not.toBe(first?.id);
  expect((await t.runs(keep)).map(({ id }) => id)).toEqual([first?.id, second?.id]);
});

test("a test sees the state, and whether it is stale", async () => {
  await using t = await createTestPlatform({ application: [orders, keep] });
  await t.put(orders, "in/1", { amount: 7 });
  expect(await t.state("seen/in/1")).toEqual({
    key: "seen/in/1",
    value: '{"amount":7}',
    version: expect.any(Number),
    freshness: { stale: false },
  });
  await t.put(orders, "in/bad", "x");
  expect(await t.state("seen/in/bad")).toMatchObject({ value: undefined, version: 0, freshness: { stale: true, function: "keep" } });
  expect(await t.state("seen/nothing")).toMatchObject({ value: undefined, version: 0 });
});
