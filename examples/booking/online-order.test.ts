import { createTestPlatform, type TestPlatform, type TestRun } from "lockstep/testing";
import { expect, test } from "vitest";
import * as application from "./index.ts";
import { onlineOrder, orderDelayed, orderStatus, orders, payOrder, readOrder, type Standing, takings, tellCustomer } from "./index.ts";

const order = { customer: "Ada", item: "city-tour", quantity: 2, card: "4242-4242" };

let started = 0;

// The bank remembers keys: a time of its own gives each platform others.
const start = (): Promise<TestPlatform> => createTestPlatform({ application, startMs: Date.UTC(2026, 0, 1) + started++ });

/** Puts order 17, and gives the run that it starts. */
const put = async (t: TestPlatform, content: object | string): Promise<TestRun> => {
  const runs = await t.put(orders, "incoming/17.json", content);
  expect(runs).toHaveLength(1);
  return runs[0] as TestRun;
};

const standing = async (t: TestPlatform): Promise<Standing | undefined> => (await t.state<Standing>("orders/17")).value;

const receipts = async (t: TestPlatform): Promise<string[]> =>
  (await t.controlPlane.objects.list("receipts", {})).objects.map(({ key }) => key);

const textsOf = async (run: TestRun): Promise<string[]> => (await run.logs()).map(({ text }) => text);

test("an order that is put is confirmed and paid, and how it stands is kept", async () => {
  await using t = await start();
  const run = await put(t, order);
  expect(await run.result()).toMatchObject({ amount: 50, receipt: expect.stringMatching(/^receipt:/) });
  expect(await standing(t)).toMatchObject({ status: "paid", amount: 50 });
  expect(await receipts(t)).toEqual(["17.json"]);
  expect(await t.call(orderStatus, "17")).toBe("paid");
});

test.each([
  ["fails once", "4000-0001", "the bank did not answer in time"],
  ["can't be read back from the bank", "4000-0003", "the bank knows of no such payment"],
])("a payment that %s is made again, in one receipt", async (_what, card, why) => {
  await using t = await start();
  const run = await put(t, { ...order, card });
  expect(await run.result()).toMatchObject({ amount: 50 });
  const failed = (await run.journal()).flatMap((record) => (record.t === "attempt" ? [record.failure.message] : []));
  expect(failed).toEqual([expect.stringContaining(why)]);
  expect(await standing(t)).toMatchObject({ status: "paid" });
  expect(await receipts(t)).toEqual(["17.json"]);
  expect(await Promise.all((await t.runs(orderDelayed)).map((delayed) => delayed.result()))).toEqual(["not delayed"]);
});

test("a declined card undoes the order, which says why", async () => {
  await using t = await start();
  const run = await put(t, { ...order, card: "4000-0000" });
  expect(await run.result()).toEqual({ refused: "the bank declined the card" });
  expect(await textsOf(run)).toEqual(expect.arrayContaining([`withdrew order:${run.id}/3`, `released reservation:${run.id}/2`]));
  expect((await run.journal()).flatMap((record) => (record.t === "undo" ? [record.seq] : []))).toEqual([-3, -2]);
  expect(await t.state("orders/17")).toMatchObject({ value: { status: "refused" }, freshness: { stale: false } });
  expect(await receipts(t)).toEqual([]);
});

test.each([
  ["is no order", { customer: "Ada" }, "incoming/17.json is no order"],
  ["is no JSON", "{", "incoming/17.json is no order"],
  ["asks for an item that nobody offers", { ...order, item: "moon" }, 'there is no item "moon"'],
  ["asks for more than there is", { ...order, item: "day-pass", quantity: 9 }, 'only 8 of "day-pass" are left'],
])("what is put and %s is refused, and costs nothing", async (_what, content, why) => {
  await using t = await start();
  expect(await (await put(t, content)).result()).toEqual({ refused: why });
  expect(await standing(t)).toEqual({ status: "refused", why });
  expect(await receipts(t)).toEqual([]);
});

test("while the bank is down nobody is misled, the customer is told, and a person decides in the end", async () => {
  await using t = await start();
  const run = await put(t, { ...order, card: "4000-0002" });
  await t.advance(1_500);
  expect(await t.state("orders/17")).toMatchObject({
    value: { status: "confirmed" },
    freshness: { stale: true, function: "pay-order", fault: "storage-unavailable" },
  });
  await expect(t.call(orderStatus, "17")).rejects.toMatchObject({ failure: { cause: { code: "STATE_STALE" } } });
  const [delayed] = (await t.runs(orderDelayed)) as [TestRun];
  expect(await delayed.result()).toBe("told");
  expect(await textsOf(delayed)).toEqual(["orders/17: your order takes longer: the bank does not answer"]);

  expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "ESCALATED" } });
  expect((await run.recoveries()).map(({ decision }) => decision?.t)).toEqual(["retry", "retry", "escalate"]);
  await run.resolve({ value: { receipt: "paid at the desk", amount: 50 } });
  expect(await run.result()).toEqual({ receipt: "paid at the desk", amount: 50 });
});

test("when the bank is back, a person has it tried again, and the order is trusted again", async () => {
  await using t = await start();
  t.fail(payOrder, Object.assign(new Error("the bank does not answer"), { code: "ECONNREFUSED" }));
  const run = await put(t, order);
  await run.outcome();
  t.mend();
  await run.resolve({ retry: true });
  expect(await run.result()).toMatchObject({ amount: 50 });
  expect(await t.state("orders/17")).toMatchObject({ value: { status: "paid" }, freshness: { stale: false } });
});

test("a fault of ours undoes everything and fails the run", async () => {
  await using t = await start();
  t.fail(payOrder, new TypeError("can't read that of undefined"));
  const run = await put(t, order);
  await run.outcome();
  await run.resolve({ fail: "we have a bug" });
  expect((await run.outcome()).status).toBe("failed");
  expect((await run.journal()).flatMap((record) => (record.t === "undo" ? [record.seq] : []))).toEqual([-3, -2]);
});

test("the payment may touch orders and receipts, and nothing else", async () => {
  await using t = await start();
  t.mock(payOrder, async ({ id }, ctx) => {
    await ctx.objects.get("orders", `incoming/${id}.json`);
    return { receipt: "none", amount: 1 };
  });
  const run = await put(t, order);
  expect(await run.outcome()).toMatchObject({ status: "suspended" });
  expect((await run.recoveries())[0]).toMatchObject({ failure: { code: "ACCESS_DENIED", verdict: { class: "permission" } } });
});

test("an order is paid once, wherever the platform dies", async () => {
  for (let commit = 1, crashed = true; crashed; commit++) {
    await using t = await start();
    const run = await put(t, { ...order, card: "4000-0001" });
    t.crashAtCommit(commit);
    expect(await run.result(), `commit ${commit}`).toMatchObject({ amount: 50 });
    expect(await receipts(t)).toEqual(["17.json"]);
    expect(await standing(t)).toMatchObject({ status: "paid" });
    crashed = t.crashes > 0;
  }
});

test("what was paid is counted at the end of the day, without what is in doubt", async () => {
  await using t = await start();
  await put(t, order);
  await t.put(orders, "incoming/18.json", { ...order, item: "museum" });
  await t.put(orders, "incoming/19.json", { ...order, card: "4000-0002" });
  await t.advance(24 * 3_600_000);
  const [run] = (await t.runs(takings)) as [TestRun];
  expect(await run.result()).toEqual({ day: "2026-01-01", amount: 74 });
  expect(await receipts(t)).toContain("takings/2026-01-01.json");
});

test("orders are read by nobody who does not put them: each has one run", async () => {
  await using t = await start();
  expect(await t.put(orders, "elsewhere/17.json", order)).toEqual([]);
  await put(t, order);
  await put(t, order);
  expect(await t.runs(onlineOrder)).toHaveLength(2);
  expect([readOrder.name, tellCustomer.name]).toEqual(["read-order", "tell-customer"]);
});
