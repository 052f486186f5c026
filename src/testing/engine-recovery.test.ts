import { CallError, coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const open = async (...application: never[] | unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const once = { attempts: 1 };

describe("the recovery of a function", () => {
  test("is asked when the call has failed for good, with the failure, the call and what the run had done", async () => {
    const reports: unknown[] = [];
    const add = fn("add", (x: number) => x + 1);
    const pay = fn("pay", (_: number): number => Promise.reject(new Error("no money")) as never, {
      retry: { attempts: 2, backoff: { initialMs: 10 } },
      recover: async (ctx, failure) => {
        reports.push(failure);
        return ctx.resumeWith(await ctx.call(add, 40));
      },
    });
    const buy = coordinator("buy", async (ctx, x: number) => (await ctx.call(pay, await ctx.call(add, x))) + 1);
    await open(add, pay, buy);
    const run = await t.start(buy, 1);
    expect(await run.result()).toBe(42);
    // Replays may call it again; what it is told stays the same.
    expect(reports[0]).toMatchObject({
      failure: { code: "FUNCTION_FAILED", message: "no money", attempts: 2 },
      run: { id: run.id, kind: "coordinator", name: "buy", input: 1 },
      call: { seq: 2, function: "pay", input: 2, attempts: 2 },
      calls: [{ seq: 1, function: "add", input: 1, value: 2 }],
      recoveries: 0,
    });
    const events = (await t.events()).filter(({ type }) => type.startsWith("run.recover"));
    expect(events).toMatchObject([
      { type: "run.recovering", run: run.id, seq: 2, function: "pay" },
      { type: "run.recovered", run: run.id, seq: 2, function: "pay", decision: "resume" },
    ]);
  });

  test("may have the call made again, with another input", async () => {
    const seen: number[] = [];
    const pay = fn(
      "pay",
      (x: number) => {
        seen.push(x);
        if (x < 100) throw new TerminalError("too little");
        return `paid ${x}`;
      },
      { recover: (ctx, { call }) => ctx.retry({ afterMs: 5_000, input: (call?.input as number) * 10 }) },
    );
    await open(pay);
    const start = t.now();
    expect(await t.call(pay, 2)).toBe("paid 200");
    expect(seen).toEqual([2, 20, 200]);
    expect(t.now() - start).toBeGreaterThanOrEqual(10_000);
  });

  test("may choose the error that the coordinator sees", async () => {
    const pay = fn("pay", (): void => Promise.reject(new TerminalError("secret detail")) as never, {
      recover: (ctx) => ctx.fail(new TerminalError("card refused", { code: "CARD" })),
    });
    const buy = coordinator("buy", async (ctx) => {
      try {
        await ctx.call(pay, undefined);
      } catch (error) {
        return error instanceof CallError ? { code: error.code, message: error.message } : undefined;
      }
      return undefined;
    });
    await open(pay, buy);
    expect(await t.run(buy)).toEqual({ code: "CARD", message: "card refused" });
  });

  test("that escalates suspends the run until a person decides", async () => {
    const pay = fn("pay", (x: string) => (x === "good" ? "paid" : (Promise.reject(new TerminalError("unclear")) as never)), {
      recover: (ctx) => ctx.escalate("was it paid?"),
    });
    await open(pay);
    const first = await t.start(pay, "bad");
    expect(await first.outcome()).toMatchObject({ status: "suspended", failure: { code: "ESCALATED", message: "was it paid?" } });
    await t.controlPlane.resolve(first.id, { action: "value", value: '"by hand"' }, "alice");
    expect(await first.result()).toBe("by hand");

    const second = await t.start(pay, "bad");
    expect((await second.outcome()).status).toBe("suspended");
    await t.controlPlane.resolve(second.id, { action: "retry", value: '"good"' }, "alice");
    expect(await second.result()).toBe("paid");

    const third = await t.start(pay, "bad");
    expect((await third.outcome()).status).toBe("suspended");
    await t.controlPlane.resolve(third.id, { action: "fail", reason: "fraud" }, "alice");
    expect(await third.outcome()).toMatchObject({ status: "failed", failure: { message: "fraud: was it paid?" } });
    await expect(t.controlPlane.resolve(third.id, { action: "retry" }, "alice")).rejects.toMatchObject({ code: "RUN_FINISHED" });
  });

  test("that fails itself is tried three times, and then a person decides", async () => {
    let tries = 0;
    const pay = fn("pay", (): void => Promise.reject(new TerminalError("no")) as never, {
      recover: () => {
        tries++;
        throw new Error("recovery is broken");
      },
    });
    await open(pay);
    const run = await t.start(pay);
    const outcome = await run.outcome();
    expect(outcome).toMatchObject({ status: "suspended", failure: { code: "RECOVERY_FAILED", cause: { code: "TERMINAL" } } });
    expect(outcome.failure?.message).toContain("recovery is broken");
    expect(tries).toBe(3);
  });

  test("that calls its own failing function has failed: no recovery follows a recovery", async () => {
    const pay = fn("pay", (_: number): number => Promise.reject(new Error("no")) as never, {
      retry: once,
      recover: async (ctx) => ctx.resumeWith(await ctx.call("pay", 2)),
    });
    await open(pay);
    expect(await (await t.start(pay, 1)).outcome()).toMatchObject({ status: "suspended", failure: { code: "RECOVERY_FAILED" } });
    expect((await t.controlPlane.runs({ kind: "recovery" }, 10)).runs).toHaveLength(3);
  });

  test("that returns no decision fails too", async () => {
    const pay = fn("pay", (): void => Promise.reject(new TerminalError("no")) as never, { recover: (() => "again") as never });
    await open(pay);
    const outcome = await (await t.start(pay)).outcome();
    expect(outcome).toMatchObject({
      status: "suspended",
      failure: { code: "RECOVERY_FAILED", details: { recovery: { code: "RECOVERY_INVALID" } } },
    });
  });

  test("that retries for ever is stopped after ten times", async () => {
    const pay = fn("pay", (): void => Promise.reject(new TerminalError("no")) as never, { recover: (ctx) => ctx.retry() });
    await open(pay);
    const outcome = await (await t.start(pay)).outcome();
    expect(outcome).toMatchObject({ status: "suspended", failure: { code: "ESCALATED" } });
  });

  test("is cancelled with its run", async () => {
    const pay = fn("pay", (): void => Promise.reject(new TerminalError("no")) as never, {
      recover: async (ctx) => {
        await ctx.signal("decision");
        return ctx.retry();
      },
    });
    await open(pay);
    const run = await t.start(pay);
    await t.controlPlane.cancel(run.id, { reason: "enough" });
    expect((await run.outcome()).status).toBe("cancelled");
    const { runs } = await t.controlPlane.runs({ kind: "recovery" }, 10);
    await t.advance(1_000);
    expect(runs).toHaveLength(1);
    expect((await t.controlPlane.run(runs[0]?.id as string)).status).toBe("cancelled");
  });
});

describe("the recovery of a coordinator", () => {
  const flaky = (failures: number) => {
    let made = 0;
    return fn("pay", (x: number) => (++made <= failures ? (Promise.reject(new Error(`no ${made}`)) as never) : x), { retry: once });
  };

  test("may have the call that failed it made again, and the coordinator goes on from there", async () => {
    const pay = flaky(2);
    const add = fn("add", (x: number) => x + 1);
    const buy = coordinator("buy", async (ctx, x: number) => ctx.call(add, await ctx.call(pay, await ctx.call(add, x))), {
      recover: (ctx) => ctx.retry(),
    });
    await open(add, pay, buy);
    const run = await t.start(buy, 1);
    expect(await run.result()).toBe(3);
    const records = await run.journal();
    expect(records.filter(({ t: type }) => type === "call")).toHaveLength(3);
    expect(records.filter(({ t: type }) => type === "reopen")).toHaveLength(2);
  });

  test("survives the control plane's death in between", async () => {
    const pay = flaky(1);
    const buy = coordinator("buy", (ctx, x: number) => ctx.call(pay, x), { recover: (ctx) => ctx.retry({ afterMs: 60_000 }) });
    await open(pay, buy);
    const run = await t.start(buy, 7);
    await t.advance(1_000);
    await t.crash({ downMs: 5_000 });
    expect(await run.result()).toBe(7);
  });

  test("may complete the run with a value, or fail it with an error of its own", async () => {
    const pay = fn("pay", (): void => Promise.reject(new Error("no")) as never, { retry: once });
    const lucky = coordinator("lucky", (ctx) => ctx.call(pay, undefined), { recover: (ctx) => ctx.resumeWith("later") as never });
    const hard = coordinator("hard", (ctx) => ctx.call(pay, undefined), { recover: (ctx) => ctx.fail(new Error("sorry")) });
    await open(pay, lucky, hard);
    expect(await t.run(lucky)).toBe("later");
    expect(await (await t.start(hard)).outcome()).toMatchObject({ status: "failed", failure: { message: "sorry" } });
  });

  test("leaves to a person what can't be tried again", async () => {
    const buy = coordinator("buy", () => Promise.reject(new TypeError("a defect")), { recover: (ctx) => ctx.retry() });
    await open(buy);
    const run = await t.start(buy);
    const outcome = await run.outcome();
    expect(outcome).toMatchObject({ status: "suspended", failure: { code: "ESCALATED" } });
    expect(outcome.failure?.message).toContain("no call failed it");
    await t.controlPlane.resolve(run.id, { action: "value", value: "5" }, "alice");
    expect(await run.result()).toBe(5);
  });

  test("is not asked for a cancellation", async () => {
    let asked = 0;
    const buy = coordinator("buy", (ctx) => ctx.sleep(1_000_000), {
      recover: (ctx) => {
        asked++;
        return ctx.retry();
      },
    });
    await open(buy);
    const run = await t.start(buy);
    await t.controlPlane.cancel(run.id, { reason: "enough" });
    expect((await run.outcome()).status).toBe("cancelled");
    expect(asked).toBe(0);
  });
});

describe("compensation", () => {
  interface Trip {
    fails: number;
  }
  const done: string[] = [];
  const stage = (n: number, delayMs = 0) =>
    fn(
      `book${n}`,
      async ({ fails }: Trip, ctx) => {
        if (fails === n) throw new TerminalError(`no room at ${n}`);
        void ctx;
        void delayMs;
        done.push(`book${n}`);
        return `ticket ${n}`;
      },
      {
        retry: once,
        compensate: (ctx, { output }) => {
          done.push(`cancel ${output} ${ctx.key.includes("compensate") ? "" : "wrong key"}`.trim());
        },
      },
    );
  const stages = [1, 2, 3, 4, 5].map((n) => stage(n));
  const saga = coordinator(
    "saga",
    async (ctx, trip: Trip) => {
      const tickets: string[] = [];
      for (const book of stages) tickets.push(await ctx.call(book, trip));
      return tickets;
    },
    { recover: (ctx) => ctx.compensate() },
  );

  test.each([1, 2, 3, 4, 5])("of a saga that fails at stage %i undoes the stages before it in reverse, once each", async (fails) => {
    done.length = 0;
    await open(...stages, saga);
    const outcome = await (await t.start(saga, { fails })).outcome();
    expect(outcome).toMatchObject({ status: "failed", failure: { code: "TERMINAL", message: `no room at ${fails}` } });
    const prefix = Array.from({ length: fails - 1 }, (_, i) => i + 1);
    expect(done).toEqual([...prefix.map((n) => `book${n}`), ...prefix.reverse().map((n) => `cancel ticket ${n}`)]);
  });

  test.each([1, 2, 3, 4, 5])("of a saga that fails at stage %i survives a crash at each commit", async (fails) => {
    const prefix = Array.from({ length: fails - 1 }, (_, i) => i + 1);
    for (let commit = 1; commit < 60; commit++) {
      for (const point of ["before", "after"] as const) {
        done.length = 0;
        await open(...stages, saga);
        const run = await t.start(saga, { fails: 0 }, { key: "warm" });
        await run.result();
        done.length = 0;
        t.crashAtCommit(commit, point);
        const outcome = await (await t.start(saga, { fails }, { key: "trip" })).outcome();
        const crashed = t.crashes;
        t.calm();
        expect(outcome.status).toBe("failed");
        // A crash may have a compensation executed again (at least once), but never out of order, never for what did not complete.
        const undone = done.filter((what) => what.startsWith("cancel")).filter((what, i, all) => what !== all[i - 1]);
        expect(undone).toEqual([...prefix].reverse().map((n) => `cancel ticket ${n}`));
        const records = await (await t.start(saga, { fails }, { key: "trip" })).journal();
        expect(records.filter((record) => record.t === "done" && record.seq < 0).map((record) => -(record as { seq: number }).seq)).toEqual(
          [...prefix].reverse(),
        );
        if (crashed === 0) return void (await t.settle());
        expect((await t.audit()).repaired).toBe(0);
        await t.stop();
      }
    }
  });

  test("lets parallel branches end first, and undoes them too in the reverse order of their ends", async () => {
    const log: string[] = [];
    const branch = fn(
      "branch",
      async ({ name, fails }: { name: string; fails?: boolean }) => {
        if (fails) throw new TerminalError("no");
        log.push(name);
        return name;
      },
      { retry: once, compensate: (_ctx, { output }) => void log.push(`undo ${output}`) },
    );
    const all = coordinator(
      "all",
      (ctx) =>
        Promise.all([ctx.call(branch, { name: "a" }), ctx.call(branch, { name: "x", fails: true }), ctx.call(branch, { name: "b" })]),
      { recover: (ctx) => ctx.compensate() },
    );
    await open(branch, all);
    expect((await (await t.start(all)).outcome()).status).toBe("failed");
    expect(log).toEqual(["a", "b", "undo b", "undo a"]);
  });

  test("can be asked for by the coordinator itself, which then goes on", async () => {
    const log: string[] = [];
    const take = fn("take", (x: number) => x, { compensate: (_ctx, { input, output }) => void log.push(`${input}:${output}`) });
    const giveBack = coordinator("giveBack", async (ctx) => {
      await ctx.call(take, 1);
      await ctx.call(take, 2);
      const first = await ctx.compensate();
      await ctx.call(take, 3);
      return { first, second: await ctx.compensate(), third: await ctx.compensate() };
    });
    await open(take, giveBack);
    expect(await t.run(giveBack)).toEqual({
      first: [
        { seq: 2, function: "take" },
        { seq: 1, function: "take" },
      ],
      second: [{ seq: 4, function: "take" }],
      third: [],
    });
    expect(log).toEqual(["2:2", "1:1", "3:3"]);
  });

  test("that fails is tried again like a call, and then suspends the run for a person", async () => {
    const take = fn("take", (x: number) => x, {
      retry: { attempts: 2, backoff: { initialMs: 10 } },
      compensate: () => Promise.reject(new Error("can't give back")),
    });
    const lose = coordinator("lose", async (ctx) => {
      await ctx.call(take, 1);
      await ctx.compensate();
      return "done";
    });
    await open(take, lose);
    const run = await t.start(lose);
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { call: { function: "take", seq: -1 }, attempts: 2 } });
    await t.controlPlane.resolve(run.id, { action: "value" }, "alice");
    expect(await run.result()).toBe("done");

    const other = await t.start(lose);
    await other.outcome();
    await t.controlPlane.resolve(other.id, { action: "fail" }, "alice");
    expect(await other.outcome()).toMatchObject({ status: "failed", failure: { code: "COMPENSATION_FAILED" } });
  });
});
