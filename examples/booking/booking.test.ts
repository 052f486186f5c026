import { createTestPlatform, type RunError, type TestPlatform, type TestRun } from "lockstep/testing";
import { expect, test } from "vitest";
import * as application from "./index.ts";
import { bookFlight, bookHotel, booking, payment, type Trip, trip } from "./index.ts";

const order = { customer: "Ada", item: "city-tour", quantity: 2, card: "4242-4242" };
const journey: Trip = { traveller: "Ada", to: "Turin", nights: 3, card: "4242-4242", approvalMs: 3_600_000, coolingOffMs: 60_000 };

const start = (): Promise<TestPlatform> => createTestPlatform({ application });

const failureOf = (run: TestRun<unknown>): Promise<RunError> =>
  run.result().then(
    (value) => {
      throw new Error(`it completed with ${JSON.stringify(value)}`);
    },
    (error: RunError) => error,
  );

const callsOf = async (run: TestRun<unknown>): Promise<string[]> =>
  (await run.journal()).flatMap((record) => (record.t === "call" ? [record.fn] : []));

/** What was compensated, in this order: the functions whose calls it undoes. */
const undoneOf = async (run: TestRun<unknown>): Promise<string[]> => {
  const journal = await run.journal();
  const functions = new Map(journal.flatMap((record) => (record.t === "call" ? [[record.seq, record.fn]] : [])));
  const ended = journal.flatMap((record) => (record.t === "done" && record.failure === undefined ? [record.seq] : []));
  return journal.flatMap((record) => (record.t === "undo" && ended.includes(record.seq) ? [functions.get(-record.seq) ?? "nothing"] : []));
};

test("a booking selects, confirms and pays", async () => {
  await using platform = await start();
  const run = await platform.start(booking, order);
  expect(await run.result()).toMatchObject({ order: `order:${run.id}/2`, receipt: `receipt:${run.id}/3`, amount: 50 });
  expect(await callsOf(run)).toEqual(["select-item", "confirm-order", "payment"]);
});

test("a payment that fails once is tried again, and nothing is undone", async () => {
  await using platform = await start();
  const run = await platform.start(booking, { ...order, card: "4000-0001" });
  expect(await run.result()).toMatchObject({ amount: 50 });
  expect(await callsOf(run)).toEqual(["select-item", "confirm-order", "payment"]);
});

test.each([
  ["is declined", "4000-0000", "CARD_DECLINED"],
  ["fails each time", "4000-0002", "FUNCTION_FAILED"],
])("when the payment %s, what was done is undone in reverse order", async (_what, card, code) => {
  await using platform = await start();
  const run = await platform.start(booking, { ...order, card });
  expect(await failureOf(run)).toMatchObject({ code, failure: { call: { function: "payment" } } });
  expect(await undoneOf(run)).toEqual(["confirm-order", "select-item"]);
  const undone = (await run.logs()).map(({ text }) => text).filter((text) => /^(withdrew|released)/.test(text));
  expect(undone).toEqual([`withdrew order:${run.id}/2`, `released reservation:${run.id}/1`]);
});

test("an item that is sold out costs nothing", async () => {
  await using platform = await start();
  const run = await platform.start(booking, { ...order, item: "day-pass", quantity: 9 });
  expect(await failureOf(run)).toMatchObject({ code: "SOLD_OUT", failure: { details: { available: 8 } } });
  expect(await callsOf(run)).toEqual(["select-item"]);
  expect(await undoneOf(run)).toEqual([]);
});

test("a cancelled booking is undone", async () => {
  await using platform = await start();
  platform.delay(payment, 2_000);
  const run = await platform.start(booking, order);
  await platform.advance(1_000);
  await run.cancel("changed my mind");
  expect((await run.outcome()).status).toBe("cancelled");
  expect(await undoneOf(run)).toEqual(["confirm-order", "select-item"]);
});

test("an order that is wrong is refused and names the field", async () => {
  await using platform = await start();
  const run = await platform.start(booking, { ...order, quantity: 0 });
  const error = await failureOf(run);
  expect(error.code).toBe("INPUT_INVALID");
  expect(error.message).toContain("quantity");
});

test("a booking goes on behind its last completed step when everything dies in the middle", async () => {
  await using platform = await start();
  platform.delay(payment, 2_000);
  const run = await platform.start(booking, order);
  await platform.advance(1_000);
  await platform.crash({ downMs: 60_000 });
  expect(await run.result()).toMatchObject({ receipt: `receipt:${run.id}/3` });
  expect(await callsOf(run)).toEqual(["select-item", "confirm-order", "payment"]);
  expect((await run.logs()).filter(({ function: name }) => name === "select-item")).toHaveLength(1);
});

test("a trip waits for its approval, cools off, and pays", async () => {
  await using platform = await start();
  const run = await platform.start(trip, journey);
  await platform.advance(1_000);
  expect((await run.get()).waitingFor).toEqual([expect.stringContaining("approve")]);
  await platform.crash();
  await run.signal("approve", { approved: true, by: "Grace" });
  const approvedAt = platform.now();
  expect(await run.result()).toMatchObject({ approvedBy: "Grace", amount: 405 });
  expect(platform.now() - approvedAt).toBeGreaterThanOrEqual(60_000);
});

test.each([
  ["nobody approves", undefined, "SIGNAL_TIMEOUT"],
  ["somebody refuses", { approved: false, by: "Grace" }, "NOT_APPROVED"],
  ["the approval is not understood", "yes", "APPROVAL_INVALID"],
])("when %s, flight and hotel are given back", async (_what, answer, code) => {
  await using platform = await start();
  const run = await platform.start(trip, journey);
  if (answer !== undefined) await run.signal("approve", answer);
  expect((await failureOf(run)).code).toBe(code);
  expect((await undoneOf(run)).sort()).toEqual(["book-flight", "book-hotel"]);
});

test.each([
  ["booked", 0],
  ["still being booked", 2_000],
])("when there is no flight, the hotel that is %s is given back", async (_when, delayMs) => {
  await using platform = await start();
  platform.delay(bookHotel, delayMs);
  const run = await platform.start(trip, { ...journey, to: "Atlantis" });
  expect((await failureOf(run)).code).toBe("NO_FLIGHT");
  expect(await undoneOf(run)).toEqual(["book-hotel"]);
});

test("flight and hotel are booked at the same time", async () => {
  await using platform = await start();
  platform.delay(bookFlight, 1_000);
  platform.delay(bookHotel, 1_000);
  const startedAt = platform.now();
  const run = await platform.start(trip, journey);
  await platform.advance(1_100);
  expect((await run.get()).waitingFor).toEqual([expect.stringContaining("approve")]);
  expect(platform.now() - startedAt).toBeLessThan(2_000);
});

test("a cancelled trip gives back what was booked", async () => {
  await using platform = await start();
  const run = await platform.start(trip, journey);
  await platform.advance(1_000);
  await run.cancel("changed my mind");
  expect(await run.outcome()).toMatchObject({ status: "cancelled", failure: { code: "RUN_CANCELLED", message: "changed my mind" } });
  expect((await undoneOf(run)).sort()).toEqual(["book-flight", "book-hotel"]);
});
