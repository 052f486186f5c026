import { coordinator, fn } from "lockstep";
import { createTestPlatform, RunError } from "lockstep/testing";
import { describe, expect, test, vi } from "vitest";

const HOUR_MS = 3_600_000;

const greet = fn("greet", (name: string, ctx) => {
  ctx.log.info(`greeting ${name}`);
  return `hello ${name}`;
});
const now = fn("now", () => "a result of nothing");
const welcome = coordinator("welcome", async (ctx, name: string) => {
  ctx.log.info("welcoming");
  await ctx.sleep(HOUR_MS);
  return ctx.call(greet, name);
});
const application = [greet, now, welcome];

describe("an application", () => {
  test.each([
    ["a list of definitions", application],
    ["a module", { greet, now, welcome, unrelated: 42 }],
    ["a module with a default export", { default: { greet, welcome } }],
  ])("is given as %s", async (_what, given) => {
    await using t = await createTestPlatform({ application: given });
    expect(await t.run("welcome", "Ada")).toBe("hello Ada");
  });

  test("operators of a level of an expression take their time together", async () => {
    const add = fn("add", ([a, b]: [number, number]) => a + b);
    await using t = await createTestPlatform({ application: [add] });
    expect(await t.eval("1+2")).toBe(3);
    t.delay(add, 100);
    const startedAt = t.now();
    // Eight operands are seven operators in three levels.
    expect(await t.eval("((1+2)+(3+4))+((5+6)+(7+8))")).toBe(36);
    expect(t.now() - startedAt).toBe(300);
  });

  test("that defines nothing, or a name twice, is refused", async () => {
    await expect(createTestPlatform({ application: {} })).rejects.toMatchObject({ code: "APPLICATION_INVALID" });
    await expect(createTestPlatform({ application: [greet, fn("greet", () => 1)] })).rejects.toMatchObject({ code: "APPLICATION_INVALID" });
  });

  test("may not take another's names", async () => {
    await using t = await createTestPlatform({ application });
    await expect(t.deploy([greet], "another")).rejects.toMatchObject({ code: "NAME_TAKEN" });
  });
});

describe("starting", () => {
  test("returns when all that can happen now has happened, and time has not moved", async () => {
    await using t = await createTestPlatform({ application, startMs: Date.UTC(2030, 0, 1) });
    const run = await t.start(welcome, "Ada");
    expect(t.now()).toBe(Date.UTC(2030, 0, 1));
    expect(await run.status()).toBe("waiting");
    expect(await run.get()).toMatchObject({
      name: "welcome",
      input: "Ada",
      acceptedAt: t.now(),
      waitingFor: ["sleep until 2030-01-01T01:00:00.000Z"],
    });
  });

  test("keeps nothing of the caller's objects", async () => {
    const remember = coordinator("remember", async (ctx, list: number[]) => {
      await ctx.sleep(1_000);
      return list;
    });
    await using t = await createTestPlatform({ application: [remember] });
    const list = [1, 2];
    const run = await t.start(remember, list);
    list.push(3);
    expect(await run.result()).toEqual([1, 2]);
  });

  test("refuses an input that is no JSON", async () => {
    await using t = await createTestPlatform({ application });
    await expect(t.start("welcome", 1n)).rejects.toMatchObject({ code: "RESULT_NOT_JSON" });
  });
});

describe("waiting for a result", () => {
  test("moves time just as far as needed", async () => {
    await using t = await createTestPlatform({ application });
    const start = t.now();
    const run = await t.start(welcome, "Ada");
    expect(await run.result()).toBe("hello Ada");
    expect(await run.result()).toBe("hello Ada");
    expect(t.now() - start).toBe(HOUR_MS);
  });

  test("gives up after the time that it may take", async () => {
    await using t = await createTestPlatform({ application });
    const run = await t.start(welcome, "Ada");
    await expect(run.result({ withinMs: 60_000 })).rejects.toMatchObject({
      code: "WAIT_TIMEOUT",
      message: expect.stringContaining("60000 ms"),
    });
    expect(await run.result()).toBe("hello Ada");
  });

  test("throws how the run failed", async () => {
    await using t = await createTestPlatform({ application });
    t.fail(greet, Object.assign(new Error("no voice"), { terminal: true, code: "NO_VOICE" }));
    const error = await t.run(welcome, "Ada").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RunError);
    expect(error).toMatchObject({ code: "NO_VOICE", status: "failed", failure: { call: { function: "greet", seq: 2 } } });
  });

  test("works for several runs at once", async () => {
    await using t = await createTestPlatform({ application });
    const runs = await Promise.all(["Ada", "Grace"].map((name) => t.start(welcome, name)));
    expect(await Promise.all(runs.map((run) => run.result()))).toEqual(["hello Ada", "hello Grace"]);
  });
});

describe("faults of functions", () => {
  test("a failure holds until it is mended", async () => {
    await using t = await createTestPlatform({ application });
    t.fail(greet, new Error("hoarse"));
    const run = await t.start(greet, "Ada");
    expect(await run.outcome()).toMatchObject({ status: "suspended", failure: { message: "hoarse" } });
    t.mend(greet);
    await run.resume();
    expect(await run.result()).toBe("hello Ada");
  });

  test("a failure may depend on input and attempt", async () => {
    await using t = await createTestPlatform({ application });
    const attempts: number[] = [];
    t.fail(greet, (name, attempt) => {
      attempts.push(attempt);
      return name === "Ada" && attempt < 3 ? new Error("hoarse") : undefined;
    });
    expect(await t.call(greet, "Ada")).toBe("hello Ada");
    expect(await t.call(greet, "Grace")).toBe("hello Grace");
    expect(attempts).toEqual([1, 2, 3, 1]);
  });

  test("failures asked for once happen once each", async () => {
    await using t = await createTestPlatform({ application });
    t.failOnce("greet");
    t.failOnce("greet", Object.assign(new Error("too loud"), { name: "TooLoud" }));
    const run = await t.start(greet, "Ada");
    expect(await run.result()).toBe("hello Ada");
    const failures = (await run.journal()).flatMap((record) => (record.t === "attempt" ? [record.failure.cause?.name] : []));
    expect(failures).toEqual(["Error", "TooLoud"]);
  });

  test("a delay takes virtual time, and a cancelled call ends it", async () => {
    await using t = await createTestPlatform({ application });
    t.delay(greet, 5_000);
    const start = t.now();
    expect(await t.call(greet, "Ada")).toBe("hello Ada");
    expect(t.now() - start).toBe(5_000);
    const run = await t.start(greet, "Grace");
    await run.cancel();
    expect(await run.status()).toBe("cancelled");
  });

  test("a mock executes instead", async () => {
    await using t = await createTestPlatform({ application });
    t.mock(greet, (name, ctx) => `${name} in attempt ${ctx.attempt}`);
    expect(await t.run(welcome, "Ada")).toBe("Ada in attempt 1");
  });

  test("a name that the application doesn't have is an error at once", async () => {
    await using t = await createTestPlatform({ application });
    expect(() => t.fail("gret", new Error("x"))).toThrow(/no function "gret"; it has greet, now/);
    await expect(t.killPod("gret")).rejects.toThrow('no pod of "gret"');
  });
});

describe("code that waits for the real world", () => {
  test("is waited for, and no virtual time passes meanwhile", async () => {
    const real = fn("real", () => new Promise<string>((resolve) => setTimeout(() => resolve("from outside"), 20)));
    await using t = await createTestPlatform({ application: [real] });
    const start = t.now();
    expect(await t.call(real)).toBe("from outside");
    expect(t.now()).toBe(start);
  });

  test("is waited for in steps too", async () => {
    const stepping = coordinator("stepping", (ctx) =>
      ctx.step("ask", () => new Promise<string>((resolve) => setTimeout(() => resolve("answer"), 20))),
    );
    await using t = await createTestPlatform({ application: [stepping] });
    const run = await t.start(stepping);
    expect(await run.status()).toBe("completed");
  });

  test("and never answers is left behind when the patience is over: its call times out", async () => {
    const stuck = fn("stuck", () => new Promise<void>(() => {}), { timeoutMs: 5_000, retry: { attempts: 1, onExhausted: "fail" } });
    await using t = await createTestPlatform({ application: [stuck], patienceMs: 20 });
    const start = t.now();
    await expect(t.call(stuck)).rejects.toMatchObject({ code: "CALL_TIMEOUT" });
    expect(t.now() - start).toBe(5_000);
  });

  test("replaced timers of the test runner stop nothing", async () => {
    vi.useFakeTimers();
    try {
      await using t = await createTestPlatform({ application });
      expect(await t.run(welcome, "Ada")).toBe("hello Ada");
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("crashes", () => {
  test("take the control plane down for as long as asked", async () => {
    await using t = await createTestPlatform({ application });
    const start = t.now();
    const run = await t.start(welcome, "Ada");
    await t.crash({ downMs: 2 * HOUR_MS });
    expect(t.now() - start).toBe(2 * HOUR_MS);
    expect(await run.result()).toBe("hello Ada");
    expect(t.now() - start).toBe(2 * HOUR_MS);
    expect(t.crashes).toBe(1);
  });

  test("planned ones can be called off", async () => {
    await using t = await createTestPlatform({ application });
    t.crashAtCommit(1);
    t.calm();
    await t.run(welcome, "Ada");
    expect(t.crashes).toBe(0);
  });
});

describe("what is seen", () => {
  test("logs and events carry virtual times", async () => {
    await using t = await createTestPlatform({ application });
    const start = t.now();
    const run = await t.start(welcome, "Ada");
    await run.result();
    await t.advance(1_000);
    expect(await run.logs()).toEqual([
      { at: start, level: "info", text: "welcoming", function: "welcome" },
      { at: start + HOUR_MS, level: "info", text: "greeting Ada", function: "greet" },
    ]);
    const events = await t.events();
    expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(["application.deployed", "run.accepted", "run.finished"]));
    expect(events.find(({ type }) => type === "run.finished")).toMatchObject({ at: start + HOUR_MS, durationMs: HOUR_MS });
  });

  test("a journal is the same each time that the same is done", async () => {
    const journal = async (): Promise<unknown> => {
      await using t = await createTestPlatform({ application });
      t.failOnce(greet, new Error("once"));
      const run = await t.start(welcome, "Ada");
      await run.result();
      return JSON.parse(JSON.stringify(await run.journal(), (key, value) => (key === "stack" ? undefined : (value as unknown))));
    };
    expect(await journal()).toEqual(await journal());
  });
});

test("a platform that was stopped says so", async () => {
  const t = await createTestPlatform({ application });
  await t.stop();
  await expect(t.start(welcome, "Ada")).rejects.toMatchObject({ code: "NOT_CONNECTED", message: expect.stringContaining("stopped") });
});
