import { CallError, CancelledError, coordinator, fn } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const DAY_MS = 86_400_000;

const double = fn("double", (x: number) => x * 2);
const add = fn("add", ([a, b]: [number, number]) => a + b, { deterministic: true });
const multiply = fn("multiply", ([a, b]: [number, number]) => a * b);
const divide = fn("divide", ([a, b]: [number, number]) => {
  if (b === 0) throw Object.assign(new Error("division by zero"), { code: "DIVISION_BY_ZERO", terminal: true });
  return a / b;
});
const slow = fn("slow", async (_: undefined, ctx) => {
  await new Promise<void>((_resolve, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error)));
});

const chain = coordinator("chain", async (ctx, x: number) => ctx.call(double, await ctx.call(double, x)));
const fanOut = coordinator("fan-out", async (ctx, n: number) =>
  (await Promise.all(Array.from({ length: n }, (_, i) => ctx.call(double, i)))).reduce((sum, x) => sum + x, 0),
);
const race = coordinator("race", async (ctx) => {
  const loser = new AbortController();
  const winner = await Promise.race([ctx.call(double, 21), ctx.call(slow, undefined, { signal: loser.signal })]);
  loser.abort();
  return winner;
});
const sleeper = coordinator("sleeper", async (ctx, ms: number) => {
  const before = ctx.now();
  await ctx.sleep(ms);
  return ctx.now() - before;
});
const approval = coordinator("approval", async (ctx, timeoutMs: number | undefined) => {
  const options = timeoutMs === undefined ? {} : { timeoutMs };
  const first = await ctx.signal<string>("approve", options);
  return [first, await ctx.signal<string>("approve", options)];
});
const child = coordinator("child", async (ctx, x: number) => {
  await ctx.sleep(1_000);
  if (x < 0) throw new RangeError("too small");
  return ctx.call(double, x);
});
const parent = coordinator("parent", async (ctx, x: number) => (await ctx.run(child, x)) + (await ctx.run(child, x + 1)));
const starter = coordinator("starter", async (ctx, x: number) => (await ctx.start(child, x)).id);

let executions = 0;
const stepper = coordinator("stepper", async (ctx) => {
  const made = await ctx.step("make", () => ++executions);
  await ctx.sleep(DAY_MS);
  return [made, await ctx.step("make again", async () => ++executions), ctx.random(), ctx.uuid()];
});
const cleaner = coordinator("cleaner", async (ctx) => {
  try {
    await ctx.call(slow, undefined);
  } finally {
    await ctx.call(double, 1);
    ctx.log.info("cleaned up");
  }
});
const stubborn = coordinator("stubborn", async (ctx) => {
  for (;;) {
    try {
      await ctx.sleep(1_000);
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
    }
  }
});
const careless = coordinator("careless", async (ctx): Promise<unknown> => {
  try {
    return await ctx.call("nowhere", 1);
  } catch (error) {
    return error instanceof CallError ? { code: error.code, attempts: error.attempts, call: error.call } : "another error";
  }
});

const application = [
  double,
  add,
  multiply,
  divide,
  slow,
  chain,
  fanOut,
  race,
  sleeper,
  approval,
  child,
  parent,
  starter,
  stepper,
  cleaner,
  stubborn,
  careless,
];

let t: TestPlatform;
beforeEach(async () => {
  t = await createTestPlatform({ application, patienceMs: 0 });
});
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

describe("calls", () => {
  test("a call's result is the next call's input, and no time passes", async () => {
    const start = t.now();
    expect(await t.run(chain, 3)).toBe(12);
    expect(t.now()).toBe(start);
  });

  test("the journal has each call with its input and its outcome", async () => {
    const run = await t.start(chain, 3);
    expect(await run.journal()).toMatchObject([
      { t: "call", seq: 1, fn: "double", input: "3" },
      { t: "done", seq: 1, value: "6", attempt: 1 },
      { t: "call", seq: 2, fn: "double", input: "6" },
      { t: "done", seq: 2, value: "12", attempt: 1 },
      { t: "finish", status: "completed", value: "12" },
    ]);
  });

  test("a thousand calls at once end in one result", async () => {
    expect(await t.run(fanOut, 1_000)).toBe(999 * 1_000);
  });

  test("the loser of a race is withdrawn: its function's signal fires and its outcome is CALL_CANCELLED", async () => {
    const run = await t.start(race);
    expect(await run.result()).toBe(42);
    const journal = await run.journal();
    expect(journal).toContainEqual(expect.objectContaining({ t: "withdraw", target: 2 }));
    expect(journal).toContainEqual(
      expect.objectContaining({ t: "done", seq: 2, failure: expect.objectContaining({ code: "CALL_CANCELLED" }) }),
    );
    expect(t.controlPlane.layers().find((layer) => layer.function === "slow")).toMatchObject({ running: 0, waiting: 0 });
  });

  test("a function that nothing defines is a terminal failure of that call", async () => {
    expect(await t.run(careless)).toEqual({ code: "UNKNOWN_FUNCTION", attempts: 1, call: { function: "nowhere", seq: 1 } });
  });

  test("a run of something unknown is refused by name", async () => {
    await expect(t.start("nowhere")).rejects.toMatchObject({ code: "UNKNOWN_COORDINATOR", message: expect.stringContaining("nowhere") });
    await expect(t.call("nowhere")).rejects.toMatchObject({ code: "UNKNOWN_FUNCTION" });
    const misled = coordinator("misled", (ctx) => ctx.call("other" as never, undefined as never));
    const other = coordinator("other", (ctx) => ctx.run("add" as never, undefined as never));
    await t.deploy([...application, misled, other]);
    await expect(t.call("other")).rejects.toThrow("it is a coordinator: run it");
    await expect(t.start("add")).rejects.toThrow("it is a function: call it");
    await expect(t.run(misled)).rejects.toThrow('function "other": it is a coordinator, for ctx.run');
    await expect(t.run(other)).rejects.toThrow('coordinator "add": it is a function, for ctx.call');
  });

  test("a tuple may be given as it is written", async () => {
    const sum = coordinator("sum", (ctx) => ctx.call(add, [40, 2]));
    await t.deploy([...application, sum]);
    expect([await t.run(sum), await t.call(add, [1, 2])]).toEqual([42, 3]);
  });

  test("a function called by itself is a run", async () => {
    expect(await t.call(double, 4)).toBe(8);
  });
});

describe("time", () => {
  test("a sleep of 30 days takes exactly as long", async () => {
    const start = t.now();
    expect(await t.run(sleeper, 30 * DAY_MS)).toBe(30 * DAY_MS);
    expect(t.now() - start).toBe(30 * DAY_MS);
  });

  test("a sleep without end can be looked at, and cancelled", async () => {
    const sleeper = coordinator("sleeper", (ctx) => ctx.sleep(Number.POSITIVE_INFINITY));
    t = await createTestPlatform({ application: [sleeper] });
    const run = await t.start(sleeper);
    await t.advance(DAY_MS);
    expect((await t.controlPlane.run(run.id)).waitingFor).toEqual(["sleep for ever"]);
    await run.cancel();
    expect(await run.outcome()).toMatchObject({ status: "cancelled" });
  });

  test("a sleep goes on while the control plane is down, and ends when it is back", async () => {
    const run = await t.start(sleeper, 60_000);
    await t.crash({ downMs: 3_600_000 });
    expect(await run.result()).toBe(3_600_000);
  });
});

describe("signals", () => {
  test("one that comes before it is awaited waits, and each is taken once, in order", async () => {
    const run = await t.start(approval, undefined);
    await run.signal("approve", "first");
    await run.signal("approve", "second");
    expect(await run.result()).toEqual(["first", "second"]);
  });

  test("one that never comes leaves the run waiting, and asking for the result says for what", async () => {
    const run = await t.start(approval, undefined);
    await run.signal("refuse", "unheard");
    expect(await run.status()).toBe("waiting");
    await expect(run.result()).rejects.toMatchObject({ code: "WAIT_TIMEOUT", message: expect.stringContaining('signal "approve"') });
    await run.signal("approve", 1);
    await run.signal("approve", 2);
    expect(await run.result()).toEqual([1, 2]);
  });

  test("one that is late is a SIGNAL_TIMEOUT at that time", async () => {
    const start = t.now();
    const run = await t.start(approval, 5_000);
    await t.advance(4_999);
    expect(await run.status()).toBe("waiting");
    await expect(run.result()).rejects.toMatchObject({ code: "SIGNAL_TIMEOUT" });
    expect(t.now() - start).toBe(5_000);
  });

  test("one that is in time disarms the timeout", async () => {
    const run = await t.start(approval, 5_000);
    await run.signal("approve", "in time");
    await t.advance(4_000);
    await run.signal("approve", "too");
    expect(await run.result()).toEqual(["in time", "too"]);
  });

  test("one for a finished run is refused", async () => {
    const run = await t.start(chain, 1);
    await expect(run.signal("approve")).rejects.toMatchObject({ code: "RUN_FINISHED" });
  });
});

describe("children", () => {
  test("a parent gets their results", async () => {
    expect(await t.run(parent, 1)).toBe(6);
  });

  test("a child's failure is its parent's, and names the child", async () => {
    const run = await t.start(parent, -5);
    const outcome = await run.outcome();
    expect(outcome).toMatchObject({ status: "failed", failure: { code: "COORDINATOR_FAILED", name: "RangeError" } });
    expect(outcome.failure?.message).toContain('child "child"');
  });

  test("a detached child outlives its parent", async () => {
    const run = await t.start(starter, 21);
    const id = await run.result();
    expect(await t.controlPlane.run(id)).toMatchObject({ status: "waiting", parent: run.id });
    await t.advance(1_000);
    expect(await t.controlPlane.result(id, 0)).toMatchObject({ status: "completed", value: "42" });
  });

  test("cancelling a parent cancels the child that it awaits", async () => {
    const run = await t.start(parent, 1);
    await run.cancel("no longer wanted");
    expect(await run.outcome()).toMatchObject({ status: "cancelled", failure: { code: "RUN_CANCELLED", message: "no longer wanted" } });
    const { runs } = await t.controlPlane.runs({ name: "child" }, 10);
    expect(runs).toMatchObject([{ status: "cancelled", parent: run.id }]);
  });
});

describe("steps", () => {
  test("a step executes once, and a replay sees its result and the same chance", async () => {
    executions = 0;
    const run = await t.start(stepper);
    await t.crash();
    await t.advance(DAY_MS / 2);
    await t.crash();
    const [made, again, random, uuid] = await run.result();
    expect([made, again, executions]).toEqual([1, 2, 2]);
    expect(random).toBeGreaterThanOrEqual(0);
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("cancellation", () => {
  test("reaches the function's signal and lets the coordinator clean up", async () => {
    const run = await t.start(cleaner);
    expect(await run.status()).toBe("running");
    await run.cancel("changed my mind");
    expect(await run.outcome()).toMatchObject({ status: "cancelled", failure: { code: "RUN_CANCELLED", message: "changed my mind" } });
    expect(await run.journal()).toContainEqual(expect.objectContaining({ t: "done", seq: 2, value: "2" }));
    await t.advance(100);
    expect((await run.logs()).map(({ text }) => text)).toEqual(["cleaned up"]);
  });

  test("reaches a coordinator whose step executes at once, and in each replay at the same place", async () => {
    const ends: (() => void)[] = [];
    const slow = coordinator("slow", async (ctx) => {
      try {
        return await ctx.step("slow", () => new Promise<void>((resolve) => ends.push(resolve)));
      } finally {
        await ctx.sleep(DAY_MS);
      }
    });
    await t.deploy([slow]);
    const run = await t.start(slow);
    await run.cancel("changed my mind");
    expect(await t.controlPlane.run(run.id)).toMatchObject({ status: "running", waitingFor: [expect.stringMatching(/^sleep/)] });
    ends[0]?.();
    await t.settle();
    expect(await run.status()).toBe("waiting");
    await t.crash();
    expect(await run.outcome({ withinMs: 2 * DAY_MS })).toMatchObject({ status: "cancelled", failure: { code: "RUN_CANCELLED" } });
    expect(ends).toHaveLength(1);
  });

  test("of a coordinator that catches it needs force", async () => {
    const run = await t.start(stubborn);
    await run.cancel();
    await t.advance(10_000);
    expect(await run.status()).toBe("waiting");
    await run.cancel("enough", { force: true });
    expect(await run.status()).toBe("cancelled");
  });

  test("is done already where the run is cancelled, whether it is still in memory or not", async () => {
    const run = await t.start(stubborn);
    await run.cancel("enough", { force: true });
    await run.cancel("once more");
    await t.crash();
    await run.cancel("once more");
    expect(await run.outcome()).toMatchObject({ status: "cancelled", failure: { message: "enough" } });
  });

  test("of a run that has ended otherwise is refused", async () => {
    const run = await t.start(chain, 1);
    await run.outcome();
    await expect(run.cancel()).rejects.toMatchObject({ code: "RUN_FINISHED" });
  });
});

describe("expressions", () => {
  test("are evaluated with the application's functions", async () => {
    expect(await t.eval("((3+5)*(4/2))")).toBe(16);
    expect(await t.eval("double(a + 1) * b", { a: 2, b: 5 })).toBe(30);
  });

  test("compute equal sub-expressions of a deterministic function once", async () => {
    const calls = async (text: string): Promise<number> => {
      const run = await t.startExpression(text, { a: 1, b: 2 });
      await run.result();
      return (await run.journal()).filter(({ t }) => t === "call").length;
    };
    expect(await calls("(a+b)*(a+b)")).toBe(2);
    expect(await calls("(a*b)+(a*b)")).toBe(3);
  });

  test("fail on a division by zero, with its place", async () => {
    const run = await t.startExpression("1 + 6/(3-3)".replace("3-3", "0*3"));
    expect(await run.outcome()).toMatchObject({
      status: "failed",
      failure: { code: "DIVISION_BY_ZERO", details: { position: expect.any(Number) } },
    });
  });

  test("fail when a call's input would be larger than a payload may be, also when it is made of results", async () => {
    const big = fn("big", () => "x".repeat(1_000));
    t = await createTestPlatform({ application: [big, double], limits: { maxPayloadBytes: 4_000 } });
    for (const operand of ["x", "big()"]) {
      const run = await t.startExpression(`double(${Array(4).fill(operand)})`, { x: "x".repeat(1_000) });
      const failure = { code: "PAYLOAD_TOO_LARGE", call: { function: "double" }, details: { limit: 4_000, position: 0 } };
      expect(await run.outcome()).toMatchObject({ status: "failed", failure });
    }
  });

  test("are refused before they are accepted when they make no sense", async () => {
    await expect(t.eval("1+")).rejects.toMatchObject({ code: "EXPRESSION_INVALID" });
    await expect(t.eval("foo(1)")).rejects.toMatchObject({ code: "UNKNOWN_FUNCTION" });
    await expect(t.eval("a+1")).rejects.toMatchObject({ code: "UNKNOWN_VARIABLE" });
    expect((await t.controlPlane.runs({}, 10)).runs).toEqual([]);
  });
});

describe("idempotency keys", () => {
  test("bring back the first run, also while it is being accepted", async () => {
    const [a, b] = await Promise.all([t.start(sleeper, 5, { key: "once" }), t.start(sleeper, 5, { key: "once" })]);
    expect(b.id).toBe(a.id);
    expect([a.existing, b.existing]).toEqual([false, true]);
    await a.result();
    expect((await t.start(sleeper, 5, { key: "once" })).id).toBe(a.id);
    await expect(t.start(sleeper, 6, { key: "once" })).rejects.toMatchObject({ code: "IDEMPOTENCY_CONFLICT" });
  });
});
