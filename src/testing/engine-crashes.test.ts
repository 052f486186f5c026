import { type CoordinatorContext, coordinator, fn } from "lockstep";
import type { CrashPoint, TestApplication } from "lockstep/testing";
import { createTestPlatform, type TestPlatform, type TestRun } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

const DAY_MS = 86_400_000;

/** What every execution of a call returned, by the call's key: the committed result must be one of them. */
let executions = new Map<string, string[]>();
const token = fn("token", (label: string, ctx) => {
  const own = executions.get(ctx.key) ?? [];
  executions.set(ctx.key, own);
  const result = `${label}:${own.length + 1}`;
  own.push(result);
  return result;
});
const pick = fn("pick", (tokens: string[]) => tokens.join("+"));

const child = coordinator("child", async (ctx, label: string) => {
  await ctx.sleep(500);
  return ctx.call(token, label);
});

const everything = coordinator("everything", async (ctx, label: string) => {
  const together = await Promise.all([ctx.call(token, `${label}a`), ctx.call(token, `${label}b`), ctx.run(child, `${label}c`)]);
  const stepped = await ctx.step("note", () => `${label}d`);
  await ctx.sleep(2_000);
  const loser = new AbortController();
  const first = await Promise.race([ctx.call(token, `${label}e`), ctx.sleep(60_000).then(() => "late"), ctx.signal("never")]);
  loser.abort();
  const answer = await ctx.signal<string>("answer", { timeoutMs: DAY_MS });
  return ctx.call(pick, [...together, stepped, String(first), answer]);
});

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const begin = async (application: TestApplication): Promise<void> => {
  executions = new Map();
  t = await createTestPlatform({ application });
};

/** Sends the signal to a run that may be between two lives: whether it arrived is asked, not guessed. */
const signalOnce = async (run: TestRun<unknown>, name: string, value: unknown): Promise<void> => {
  for (;;) {
    if ((await run.journal()).some((record) => record.t === "signalled" && record.name === name)) return;
    await run.signal(name, value).catch(() => {});
  }
};

const callsAgree = async (run: TestRun<unknown>): Promise<void> => {
  const journal = await run.journal();
  const done = new Map<number, string>();
  for (const record of journal) {
    if (record.t !== "done") continue;
    expect(done.has(record.seq)).toBe(false);
    done.set(record.seq, record.value ?? "");
  }
  for (const record of journal) {
    if (record.t !== "call" || record.fn !== "token") continue;
    const committed = JSON.parse(done.get(record.seq) ?? '""') as string;
    expect(executions.get(`${run.id}/${record.seq}`)).toContain(committed);
  }
};

describe("the control plane dies", () => {
  test.each<CrashPoint>(["before", "after"])(
    "%s each commit of a run in turn, and the run always ends with the same result",
    async (point) => {
      let commits = 1;
      for (; ; commits++) {
        await begin([token, pick, child, everything]);
        t.crashAtCommit(commits, point);
        const run = await t.start(everything, "x", { key: "k" });
        await signalOnce(run, "answer", "yes");
        const result = await run.result();
        expect(result?.replaceAll(/:\d+/g, ""), `crash ${point} commit ${commits}`).toBe("xa+xb+xc+xd+xe+yes");
        await callsAgree(run);
        await t.advance(DAY_MS);
        expect(t.controlPlane.counters().runsLive).toBe(0);
        if (t.crashes === 0) break;
        expect(t.crashes).toBe(1);
        expect((await t.audit()).repaired).toBe(0);
        await t.stop();
      }
      expect(commits).toBeGreaterThan(10);
    },
  );

  test.each<CrashPoint>(["before", "after"])("%s each commit of an expression and of a function's own run", async (point) => {
    const add = fn("add", ([a, b]: [number, number]) => a + b);
    const multiply = fn("multiply", ([a, b]: [number, number]) => a * b);
    for (let commits = 1, crashed = true; crashed; commits++) {
      await begin([add, multiply]);
      t.delay(add, 100);
      t.crashAtCommit(commits, point);
      const expression = await t.startExpression("(1+2)*(3+4)*(a+b)", { a: 1, b: 1 }, { key: "e" });
      const call = await t.start(add, [20, 22], { key: "c" });
      expect([await expression.result(), await call.result()], `crash ${point} commit ${commits}`).toEqual([42, 42]);
      expect((await expression.journal()).filter((record) => record.t === "call")).toHaveLength(5);
      crashed = t.crashes > 0;
      if (crashed) await t.stop();
    }
  });

  test("at every second commit, and the run still ends", async () => {
    await begin([token, pick, child, everything]);
    t.crashAtCommit(2);
    const run = await t.start(everything, "x", { key: "k" });
    for (let i = 0; i < 20; i++) {
      t.crashAtCommit(2, i % 2 === 0 ? "after" : "before");
      await t.advance(250);
    }
    await signalOnce(run, "answer", "yes");
    expect((await run.result())?.replaceAll(/:\d+/g, "")).toBe("xa+xb+xc+xd+xe+yes");
    expect(t.crashes).toBeGreaterThan(2);
    await callsAgree(run);
  });

  test("while a start is under way: without a key the caller learns that the answer was lost", async () => {
    await begin([token, pick, child, everything]);
    t.crashAtCommit(1, "before");
    await expect(t.start(everything, "x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    await t.settle();
    expect((await t.controlPlane.runs({}, 10)).runs).toEqual([]);
    t.crashAtCommit(1, "after");
    await expect(t.start(everything, "x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    await t.settle();
    expect((await t.controlPlane.runs({ name: "everything" }, 10)).runs).toHaveLength(1);
  });

  test.each<CrashPoint>(["before", "after"])("%s each commit of a cancellation, and parent and child end cancelled", async (point) => {
    const parent = coordinator("parent", async (ctx, label: string) => ctx.run(child, label));
    for (let commits = 1; ; commits++) {
      await begin([token, child, parent]);
      const run = await t.start(parent, "x");
      t.crashAtCommit(commits, point);
      await run.cancel("enough").catch((error: { code: string }) => expect(error.code).toBe("NOT_CONNECTED"));
      if ((await run.status()) !== "cancelled") await run.cancel("enough");
      await t.advance(5_000);
      const { runs } = await t.controlPlane.runs({}, 10);
      expect(
        runs.map(({ name, status }) => [name, status]),
        `crash ${point} commit ${commits}`,
      ).toEqual([
        ["child", "cancelled"],
        ["parent", "cancelled"],
      ]);
      if (t.crashes === 0) break;
      await t.stop();
    }
  });
});

describe("parents and children that have left memory", () => {
  const sleepy = coordinator("sleepy", async (ctx, ms: number | undefined) => (ms === undefined ? ctx.signal("never") : ctx.sleep(ms)));
  const parent = coordinator("parent", async (ctx, ms: number | undefined) => {
    await ctx.run(sleepy, ms);
    return "slept";
  });

  const rest = async (ms: number | undefined): Promise<TestRun<string>> => {
    await begin([sleepy, parent]);
    const run = await t.start(parent, ms);
    await t.advance(60_000);
    expect(t.controlPlane.counters().runsLive).toBe(0);
    return run;
  };

  test.each<CrashPoint>(["before", "after"])(
    "find each other again when the control plane dies %s each commit of the child's end",
    async (point) => {
      for (let commits = 1; ; commits++) {
        const run = await rest(DAY_MS);
        t.crashAtCommit(commits, point);
        expect(await run.result(), `crash ${point} commit ${commits}`).toBe("slept");
        if (t.crashes === 0) break;
        await t.stop();
      }
    },
  );

  test.each<CrashPoint>(["before", "after"])("are cancelled together when it dies %s each commit of the cancellation", async (point) => {
    for (let commits = 1; ; commits++) {
      const run = await rest(undefined);
      t.crashAtCommit(commits, point);
      await run.cancel("enough").catch((error: { code: string }) => expect(error.code).toBe("NOT_CONNECTED"));
      if ((await run.status()) !== "cancelled") await run.cancel("enough");
      await t.settle();
      const { runs } = await t.controlPlane.runs({}, 10);
      expect(
        runs.map(({ name, status }) => [name, status]),
        `crash ${point} commit ${commits}`,
      ).toEqual([
        ["sleepy", "cancelled"],
        ["parent", "cancelled"],
      ]);
      if (t.crashes === 0) break;
      await t.stop();
    }
  });
});

describe("a waiting run", () => {
  const waiter = coordinator("waiter", async (ctx, ms: number | undefined) => {
    const before = await ctx.call(token, "before");
    if (ms === undefined) return [before, await ctx.signal("go"), await ctx.call(token, "after")];
    await ctx.sleep(ms);
    return [before, await ctx.call(token, "after")];
  });

  test("leaves memory and is brought back by its timer, to the millisecond", async () => {
    await begin([token, waiter]);
    const start = t.now();
    const run = await t.start(waiter, DAY_MS);
    expect(t.controlPlane.counters().runsLive).toBe(1);
    await t.advance(30_000);
    expect(t.controlPlane.counters().runsLive).toBe(0);
    expect(await run.get()).toMatchObject({ status: "waiting", waitingFor: [expect.stringContaining("sleep until")] });
    expect(await run.result()).toEqual(["before:1", "after:1"]);
    expect(t.now() - start).toBe(DAY_MS);
  });

  test("leaves memory and is brought back by a signal", async () => {
    await begin([token, waiter]);
    const run = await t.start(waiter, undefined);
    await t.advance(30_000);
    expect(t.controlPlane.counters().runsLive).toBe(0);
    await run.signal("go", "now");
    expect(await run.result()).toEqual(["before:1", "now", "after:1"]);
  });

  test("that left memory is not loaded by a restart, and is still woken", async () => {
    await begin([token, waiter]);
    const runs = await Promise.all(Array.from({ length: 20 }, () => t.start(waiter, DAY_MS)));
    await t.advance(30_000);
    await t.crash();
    expect(t.controlPlane.counters().runsLive).toBe(0);
    expect((await t.events()).findLast(({ type }) => type === "platform.started")).toMatchObject({ recovered: 0 });
    for (const run of runs) expect(await run.result()).toEqual(["before:1", "after:1"]);
  });

  test("whose wake-up passes while the platform is down is woken when it is back", async () => {
    await begin([token, waiter]);
    const run = await t.start(waiter, DAY_MS);
    await t.advance(30_000);
    await t.crash({ downMs: 2 * DAY_MS });
    await t.advance(2_000);
    expect(await run.status()).toBe("completed");
  });

  test("does not leave memory before its code has acted on what it was told", async () => {
    const undecided = coordinator("undecided", (ctx, label: string) => Promise.race([ctx.call(token, label), ctx.signal<string>("never")]));
    executions = new Map();
    t = await createTestPlatform({ application: [token, undecided], limits: { evictAfterMs: 5_000, coordinatorTurnMs: 30_000 } });
    t.delay(token, 1_000);
    const innocent = await t.start(undecided, "innocent");
    const culprit = await t.start(undecided, "culprit");
    await t.blockPod("coordinator");
    await t.advance(20_000);
    expect(t.controlPlane.counters().runsLive).toBe(2);
    expect(await culprit.outcome()).toMatchObject({ status: "suspended", failure: { code: "COORDINATOR_STUCK" } });
    expect(await innocent.result()).toBe("innocent:1");
  });

  test("is not loaded for its pod's death, and a parent of it comes back when it ends", async () => {
    const sleepy = coordinator("sleepy", async (ctx) => {
      await ctx.sleep(DAY_MS);
      return "slept";
    });
    const parent = coordinator("parent", async (ctx) => [await ctx.run(sleepy, undefined), await ctx.call(token, "after")]);
    await begin([token, sleepy, parent]);
    const run = await t.start(parent);
    await t.advance(60_000);
    expect(t.controlPlane.counters().runsLive).toBe(0);
    expect(await run.result()).toEqual(["slept", "after:1"]);
  });
});

describe("versions", () => {
  const greet = (text: string) => fn("greet", () => text);
  const greeter = (calls: number) =>
    coordinator("greeter", async (ctx) => {
      const said: string[] = [];
      for (let i = 0; i < calls; i++) {
        said.push(await ctx.call<string>("greet"));
        await ctx.sleep(10_000);
      }
      return said;
    });

  test("a run stays on the version that it began with, also over a crash; new runs take the new one", async () => {
    await begin([greet("old"), greeter(3)]);
    const old = await t.start("greeter");
    await t.advance(5_000);
    await t.deploy([greet("new"), greeter(2)]);
    const young = await t.start("greeter");
    await t.advance(6_000);
    await t.crash();
    expect(await old.result()).toEqual(["old", "old", "old"]);
    expect(await young.result()).toEqual(["new", "new"]);
    expect((await t.controlPlane.applications()).map(({ current }) => current)).toEqual([false, true]);
  });

  test("changed code under the same version diverges: the run is suspended, and the failure names the step", async () => {
    const other = fn("other", () => "other");
    const changed = coordinator("greeter", async (ctx) => {
      await ctx.call(other, undefined);
      return [];
    });
    await begin([greet("old"), other, greeter(3)]);
    const run = await t.start("greeter");
    t.replaceCode([greet("old"), other, changed]);
    await t.crash();
    const outcome = await run.outcome();
    expect(outcome).toMatchObject({ status: "suspended", failure: { code: "REPLAY_DIVERGED", details: { seq: 1 } } });
    expect(outcome.failure?.message).toContain('a call of "greet"');
    expect(outcome.failure?.message).toContain('a call of "other"');
    t.replaceCode([greet("old"), other, greeter(3)]);
    await t.killPod("coordinator").catch(() => {});
    await run.resume();
    expect(await run.result()).toEqual(["old", "old", "old"]);
  });

  test.each<[string, (ctx: CoordinatorContext) => Promise<unknown>]>([
    ["a step is missing", async (ctx) => ctx.sleep(10_000)],
    ["a step is of another kind", async (ctx) => ctx.signal("greet")],
    ["the steps come in another order", async (ctx) => [await ctx.sleep(10_000), await ctx.call("greet")]],
    ["the code ends early", async () => "early"],
    ["a step has other content", async (ctx) => ctx.call("greet", "hello")],
  ])("code that diverges because %s is found out", async (_what, code) => {
    await begin([greet("old"), greeter(3)]);
    const run = await t.start("greeter");
    await t.advance(15_000);
    t.replaceCode([greet("old"), coordinator("greeter", code)]);
    await t.crash();
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { code: "REPLAY_DIVERGED" } });
    expect(await t.controlPlane.run(run.id)).toMatchObject({ status: "suspended" });
  });
});
