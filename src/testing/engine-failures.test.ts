import { CallError, coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const steady = { backoff: { initialMs: 1_000, factor: 2, maxMs: 5_000, jitter: 0 } };
const work = fn("work", (x: number) => x + 1, { retry: { attempts: 4, ...steady }, timeoutMs: 10_000 });
const optional = fn("optional", (x: number) => x + 1, { retry: { attempts: 2, ...steady, onExhausted: "fail" } });
const narrow = fn("narrow", (x: number) => x + 1, { concurrency: 1 });

const job = coordinator("job", async (ctx, x: number) => ctx.call(work, await ctx.call(work, x)));
const lenient = coordinator("lenient", async (ctx, x: number) => {
  try {
    return { value: await ctx.call(optional, x) };
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    return { code: error.code, attempts: error.attempts, call: error.call, cause: error.failure.cause?.message };
  }
});
const wide = coordinator("wide", (ctx, n: number) => Promise.all(Array.from({ length: n }, (_, i) => ctx.call(narrow, i))));

let t: TestPlatform;
beforeEach(async () => {
  t = await createTestPlatform({ application: [work, optional, narrow, job, lenient, wide], patienceMs: 20 });
});
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

describe("retries", () => {
  test("come at the times that the backoff says, with the attempt's number", async () => {
    const start = t.now();
    const attempts: [number, number][] = [];
    t.fail(work, (_input, attempt) => {
      attempts.push([attempt, t.now() - start]);
      return attempt < 4 ? new Error("not yet") : undefined;
    });
    expect(await t.call(work, 1)).toBe(2);
    expect(attempts.map(([attempt]) => attempt)).toEqual([1, 2, 3, 4]);
    const times = attempts.map(([, at]) => at);
    // The layers' timer is allowed its grain of a few milliseconds.
    for (const [i, at] of [0, 1_000, 3_000, 7_000].entries()) {
      expect(times[i]).toBeGreaterThanOrEqual(at);
      expect(times[i]).toBeLessThan(at + 50);
    }
  });

  test("are events, and records of the journal, with their failure", async () => {
    t.failOnce(work, new Error("once"));
    const run = await t.start(job, 1);
    expect(await run.result()).toBe(3);
    expect(await run.journal()).toContainEqual(
      expect.objectContaining({
        t: "attempt",
        seq: 1,
        attempt: 1,
        failure: expect.objectContaining({ code: "FUNCTION_FAILED", message: "once" }),
      }),
    );
    expect((await t.events()).filter(({ type }) => type === "call.retrying")).toMatchObject([
      { run: run.id, function: "work", attempt: 1 },
    ]);
  });

  test("are not made for a TerminalError", async () => {
    let attempts = 0;
    t.fail(work, () => {
      attempts++;
      return new TerminalError("the card is declined", { code: "CARD_DECLINED" });
    });
    await expect(t.run(job, 1)).rejects.toMatchObject({ code: "CARD_DECLINED", failure: { call: { function: "work", seq: 1 } } });
    expect(attempts).toBe(1);
  });

  test("go on after a crash from the attempt that was reached, at its time", async () => {
    const attempts: number[] = [];
    t.fail(work, (_input, attempt) => {
      attempts.push(attempt);
      return attempt < 3 ? new Error("not yet") : undefined;
    });
    const run = await t.start(job, 1);
    await t.advance(1_500);
    expect(attempts).toEqual([1, 2]);
    await t.crash();
    await t.advance(1_000);
    expect(attempts).toEqual([1, 2]);
    expect(await run.result()).toBe(3);
    expect(attempts.slice(0, 3)).toEqual([1, 2, 3]);
  });
});

test("a run that is not suspended cannot be resumed", async () => {
  t.delay(work, 1_000);
  const run = await t.start(job, 1);
  await expect(run.resume()).rejects.toMatchObject({ code: "RUN_NOT_SUSPENDED" });
  await run.result();
  await expect(run.resume()).rejects.toMatchObject({ code: "RUN_FINISHED" });
});

describe("calls out of attempts", () => {
  test("suspend the run, which a person resumes with fresh attempts", async () => {
    t.fail(work, new Error("down"));
    const run = await t.start(job, 1);
    expect(await run.outcome()).toMatchObject({
      status: "suspended",
      failure: { code: "FUNCTION_FAILED", message: "down", attempts: 4, call: { function: "work", seq: 1 } },
    });
    await expect(run.result()).rejects.toMatchObject({ status: "suspended" });
    expect(t.controlPlane.layers()).toContainEqual(expect.objectContaining({ function: "work", dead: 1 }));
    t.mend(work);
    await run.resume();
    expect(await run.result()).toBe(3);
  });

  test("stay suspended over an eviction and a crash", async () => {
    t.fail(work, new Error("down"));
    const run = await t.start(job, 1);
    await t.advance(60_000);
    expect(t.controlPlane.counters().runsLive).toBe(0);
    await t.crash();
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { message: "down" } });
    t.mend();
    await run.resume();
    expect(await run.result()).toBe(3);
  });

  test("are the coordinator's to handle where the function says so", async () => {
    t.fail(optional, new Error("down"));
    expect(await t.run(lenient, 1)).toEqual({
      code: "FUNCTION_FAILED",
      attempts: 2,
      call: { function: "optional", seq: 1 },
      cause: "down",
    });
  });
});

describe("a function that does not answer", () => {
  test("is timed out, told to stop, and tried again", async () => {
    const start = t.now();
    const signals: boolean[] = [];
    t.mock(work, async (x, ctx) => {
      if (ctx.attempt > 1) return x + 1;
      await new Promise((_resolve, reject) =>
        ctx.signal.addEventListener("abort", () => {
          signals.push(true);
          reject(ctx.signal.reason);
        }),
      );
      return 0;
    });
    expect(await t.call(work, 1)).toBe(2);
    expect(t.now() - start).toBeGreaterThanOrEqual(11_000);
    expect(signals).toEqual([true]);
    expect((await t.events()).filter(({ type }) => type === "call.retrying")).toMatchObject([{ failure: { code: "CALL_TIMEOUT" } }]);
  });

  test("and never does is a CALL_TIMEOUT in the end", async () => {
    t.hang(work);
    const run = await t.start(job, 1);
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "CALL_TIMEOUT", attempts: 4 } });
  });
});

describe("pods", () => {
  test("that die give their calls to others at once, and use up no attempt", async () => {
    t.delay(work, 5_000);
    const start = t.now();
    const run = await t.start(job, 1);
    await t.advance(2_000);
    await t.killPod(work);
    expect(await run.result()).toBe(3);
    expect(t.now() - start).toBeLessThan(2_000 + 5_000 + 5_000 + 100);
    const events = await t.events();
    expect(events).toContainEqual(expect.objectContaining({ type: "pod.lost", function: "work", calls: 1 }));
    expect(events).toContainEqual(
      expect.objectContaining({ type: "call.retrying", failure: expect.objectContaining({ code: "POD_LOST" }) }),
    );
  });

  test("that take a call with them each time make it a dead letter", async () => {
    t.disturb((message) => {
      if (message.t !== "invoke") return undefined;
      void t.killPod(work);
      return undefined;
    });
    const run = await t.start(job, 1);
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "POD_LOST", attempts: 5 } });
    t.disturb(undefined);
    await run.resume();
    expect(await run.result()).toBe(3);
  });

  test("that fall silent are found within a second or two", async () => {
    t.delay(work, 500);
    await t.call(work, 0);
    await t.advance(5_000);
    const start = t.now();
    const run = await t.start(job, 1);
    await t.hangPod(work);
    expect(await run.result()).toBe(3);
    expect(t.now() - start).toBeLessThan(3_000);
    expect(await t.events()).toContainEqual(
      expect.objectContaining({ type: "pod.lost", function: "work", reason: expect.stringContaining("hung") }),
    );
  });

  test("of coordinators that die lose nothing", async () => {
    t.delay(work, 1_000);
    const run = await t.start(job, 1);
    await t.advance(1_500);
    await t.killPod("coordinator");
    expect(await run.result()).toBe(3);
    expect((await run.journal()).filter(({ t }) => t === "call")).toHaveLength(2);
  });

  test("of coordinators that never yield are ended, and the run that did it is suspended by name", async () => {
    t.delay(work, 60_000 * 60);
    const run = await t.start(job, 1);
    await t.blockPod("coordinator");
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "COORDINATOR_STUCK" } });
    t.mend();
    await run.resume();
    expect(await run.result()).toBe(3);
  });

  test("that fail to start are tried again", async () => {
    t.failStarts(5);
    t.delay(work, 1);
    await t.killPod("warm");
    expect(await t.run(job, 1)).toBe(3);
  });
});

describe("limits", () => {
  test("a function's concurrency is never exceeded", async () => {
    t.delay(narrow, 10);
    const start = t.now();
    const run = await t.start(wide, 20);
    expect(t.controlPlane.layers()).toContainEqual(expect.objectContaining({ function: "narrow", running: 1, waiting: 19 }));
    expect(await run.result()).toHaveLength(20);
    expect(t.now() - start).toBe(200);
  });

  test("new runs are refused with OVERLOADED while too many are under way, and taken again after that", async () => {
    await t.stop();
    t = await createTestPlatform({ application: [work, job], limits: { maxLiveRuns: 3 } });
    t.delay(work, 1_000);
    const runs = await Promise.all([1, 2, 3].map((x) => t.start(job, x)));
    await expect(t.start(job, 4)).rejects.toMatchObject({ code: "OVERLOADED", details: { retryAfterMs: expect.any(Number) } });
    expect(t.controlPlane.counters().admissionRefused).toBe(1);
    for (const run of runs) await run.result();
    expect(await t.run(job, 4)).toBe(6);
  });
});
