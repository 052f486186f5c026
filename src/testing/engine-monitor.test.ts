import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { check, coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { CallLog } from "../protocol/control-plane.ts";
import type { PlatformEvent } from "../protocol/events.ts";

const quick = { attempts: 3, backoff: { initialMs: 10, jitter: 0 }, onExhausted: "fail" as const };
const pay = fn(
  "pay",
  (amount: number, ctx) => {
    if (amount > 100) ctx.log.error("the limit is 100");
    if (amount > 100) throw Object.assign(new Error("Access Denied"), { name: "AccessDenied", $metadata: { httpStatusCode: 403 } });
    return amount;
  },
  { retry: quick },
);
const chatty = fn("chatty", (_: unknown, ctx) => ctx.log.info("hello"));
const hang = fn("hang", () => new Promise(() => undefined), { timeoutMs: 500, retry: { ...quick, attempts: 1 } });
const buggy = fn("buggy", () => (undefined as unknown as { total: number }).total, { retry: quick });
const shop = coordinator("shop", (ctx, amount: number) => ctx.call(pay, amount));
const bounds = check("pay-health", { watch: pay, bounds: { errorRate: 0.5, windowMs: 10_000, least: 2 } });

let t: TestPlatform;
beforeEach(async () => {
  t = await createTestPlatform({ application: [pay, chatty, hang, buggy, shop, bounds], limits: { retainLogs: 5, retainEveryMs: 1_000 } });
});
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const logs = async (filter: object = {}): Promise<CallLog[]> => (await t.controlPlane.logs({ limit: 100, ...filter })).logs;
const failed = (work: Promise<unknown>) => expect(work).rejects.toBeInstanceOf(Error);

describe("an execution that failed", () => {
  test("has its verdict in the journal, in its run's failure and in the events", async () => {
    const run = await t.start(shop, 500);
    const outcome = await run.outcome();
    const verdict = {
      class: "permission",
      retryable: false,
      evidence: ["AccessDenied: Access Denied (HTTP 403)", "log: the limit is 100"],
    };
    // The coordinator has not caught it: so its own failure is of the same kind.
    expect(outcome).toMatchObject({ status: "failed", failure: { code: "FUNCTION_FAILED", verdict: { class: "permission" } } });
    const done = (await run.journal()).find(({ t: kind }) => kind === "done");
    expect(done).toMatchObject({ failure: { verdict, call: { function: "pay" }, attempts: 1 }, metrics: { pod: expect.any(String) } });
  });

  test("is not tried again when that cannot help, and is when it can", async () => {
    const attempts: Record<string, number> = {};
    const failing = (name: string, error: Error): void =>
      t.fail(name, (_, attempt) => {
        attempts[name] = attempt;
        return error;
      });
    failing("chatty", Object.assign(new Error("no"), { code: "ENOENT" }));
    failing("pay", Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
    failing("hang", new TerminalError("never"));
    await Promise.all([failed(t.call(chatty, 0)), failed(t.call(pay, 1)), failed(t.call(hang)), failed(t.call(buggy))]);
    expect(attempts).toEqual({ chatty: 1, pay: 3, hang: 1 });
    expect((await logs({ function: "buggy" })).map(({ report }) => report?.verdict)).toMatchObject([
      { class: "execution", retryable: false },
    ]);
  });

  test("has a log entry with its report, also when it wrote nothing", async () => {
    await failed(t.call(hang));
    const [log] = await logs();
    expect(log).toMatchObject({
      function: "hang",
      lines: [],
      report: {
        outcome: "fault",
        verdict: { class: "timeout", retryable: true, evidence: [expect.stringContaining("CALL_TIMEOUT"), "time: 500 ms"] },
      },
    });
    expect(log?.report?.message).toContain("did not answer within 500 ms");
    const { startedAt = 0, endedAt = 0 } = log?.report ?? {};
    expect(endedAt - startedAt).toBeGreaterThanOrEqual(500);
  });
});

describe("an execution that succeeded", () => {
  test("leaves nothing when it wrote nothing", async () => {
    expect(await t.run(shop, 5)).toBe(5);
    expect(await logs()).toEqual([]);
  });

  test("has its report beside what it wrote", async () => {
    await t.call(chatty, 0);
    expect(await logs()).toMatchObject([
      { function: "chatty", lines: [{ text: "hello" }], report: { outcome: "ok", metrics: { durationMs: expect.any(Number) } } },
    ]);
  });
});

test("what was logged is found by function, level and text", async () => {
  await t.call(chatty, 0);
  await failed(t.run(shop, 500));
  await failed(t.call(buggy));
  const names = async (filter: object): Promise<string[]> => (await logs(filter)).map((log) => log.function);
  expect(await names({})).toEqual(["chatty", "pay", "buggy"]);
  expect(await names({ level: "error" })).toEqual(["pay", "buggy"]);
  expect(await names({ level: "error", function: "pay" })).toEqual(["pay"]);
  expect(await names({ text: "LIMIT" })).toEqual(["pay"]);
  expect(await names({ text: "reading 'total'" })).toEqual(["buggy"]);
});

test("of the logs so many are kept as the limit says", async () => {
  for (let i = 0; i < 12; i++) await t.call(chatty, i);
  const before = await t.controlPlane.logs({ limit: 100 });
  await t.advance(3_000);
  const after = await t.controlPlane.logs({ limit: 100 });
  expect(after.logs).toEqual(before.logs.slice(-5));
  expect(after.next).toBe(before.next);
});

describe("an alert", () => {
  const alerts = async (): Promise<PlatformEvent[]> => (await t.events()).filter(({ type }) => type.startsWith("alert."));

  test("is raised once when too many executions fail, and cleared when they have left the window", async () => {
    await failed(t.run(shop, 500));
    expect(await alerts()).toEqual([]);
    for (let i = 0; i < 3; i++) await failed(t.run(shop, 500));
    const raised = { type: "alert.raised", alert: "pay-health", function: "pay", measure: "errorRate", value: 1, bound: 0.5 };
    expect(await alerts()).toMatchObject([raised]);
    await t.advance(20_000);
    expect(await alerts()).toMatchObject([raised, { type: "alert.cleared", alert: "pay-health", measure: "errorRate", value: 0 }]);
  });

  test("is not raised by executions that fail now and then", async () => {
    for (const amount of [5, 500, 5, 5, 500, 5]) await t.run(shop, amount).catch(() => undefined);
    expect(await alerts()).toEqual([]);
  });
});

test("the alert of docs/monitor.md is raised", async () => {
  const page = readFileSync(new URL("../../docs/monitor.md", import.meta.url), "utf8");
  const script = stripTypeScriptTypes(/^```ts\n(.*?)^```$/ms.exec(page)?.[1] ?? "").replace(/^import .*$/m, "");
  const definitions = new Function("check", "fn", `${script.replaceAll("export ", "")}; return [payment, paymentHealth];`)(check, fn);
  await using shop = await createTestPlatform({ application: definitions });
  shop.fail("payment", new TerminalError("no"));
  for (let i = 0; i < 5; i++) await failed(shop.call(definitions[0], { amount: i }));
  expect((await shop.events()).filter(({ type }) => type === "alert.raised")).toMatchObject([
    { alert: "payment-health", measure: "errorRate", bound: 0.1 },
  ]);
});
