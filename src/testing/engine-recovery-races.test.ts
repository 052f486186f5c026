import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform, type TestPlatformOptions } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";

let t: TestPlatform;
const open = async (options: Partial<TestPlatformOptions>, ...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20, ...options });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const refuse = (why: string) => (): never => {
  throw new TerminalError(why);
};
const runsOf = async (kind: "recovery" | "coordinator") => (await t.ask((plane) => plane.runs({ kind }, 100))).runs;

describe("a recovery that takes its time", () => {
  const mended = { is: false };
  const pay = fn("pay", refuse("no money"), {
    recover: async (ctx) => {
      await ctx.sleep(60_000);
      return ctx.resumeWith("paid late");
    },
  });
  const ship = fn(
    "ship",
    () => {
      if (!mended.is) throw new Error("no ship");
      return "shipped";
    },
    { retry: { attempts: 1 } },
  );
  const buy = coordinator("buy", (ctx, _: string) => Promise.all([ctx.call(pay, undefined), ctx.call(ship, undefined)]));

  test("decides once for a run that was suspended and left memory, whatever commit a crash comes at", async () => {
    for (let commit = 1; commit < 60; commit++) {
      mended.is = false;
      await open({ limits: { evictAfterMs: 2_000 } }, pay, ship, buy);
      t.crashAtCommit(commit, commit % 2 === 0 ? "before" : "after");
      const run = await t.start(buy, "", { key: "buy" });
      await t.advance(70_000);
      mended.is = true;
      expect((await run.outcome()).status).toBe("suspended");
      const { crashes } = t;
      await t
        .ask((plane) => plane.resume(run.id))
        .catch((error: { code: string }) => expect(error.code).toMatch(/RUN_NOT_SUSPENDED|RUN_FINISHED/));
      expect(await run.result()).toEqual(["paid late", "shipped"]);
      expect((await runsOf("recovery")).map(({ status }) => status)).toEqual(["completed"]);
      const journal = await run.journal();
      expect(journal.filter((record) => record.t === "recovered")).toHaveLength(1);
      t.calm();
      if (crashes === 0) return;
      expect((await t.audit()).repaired).toBe(0);
      await t.stop();
    }
    expect.unreachable("it never ends within so many commits");
  }, 60_000);

  test("is cancelled with its run, also when both have left memory", async () => {
    mended.is = false;
    await open({ limits: { evictAfterMs: 2_000 } }, pay, ship, buy);
    const run = await t.start(buy, "");
    await t.advance(20_000);
    await t.controlPlane.cancel(run.id, { reason: "enough" });
    expect(await run.outcome()).toMatchObject({ status: "cancelled" });
    await t.advance(1_000);
    expect((await runsOf("recovery")).map(({ status }) => status)).toEqual(["cancelled"]);
  });

  test("is cancelled with its run, whatever commit a crash comes at", async () => {
    for (let commit = 1; commit < 8; commit++) {
      for (const point of ["before", "after"] as const) {
        mended.is = false;
        await open({ limits: { evictAfterMs: 2_000 } }, pay, ship, buy);
        const run = await t.start(buy, "");
        await t.advance(20_000);
        t.crashAtCommit(commit, point);
        await t
          .ask((plane) => plane.cancel(run.id, { reason: "enough" }))
          .catch((error: { code: string }) => expect(error.code).toBe("RUN_FINISHED"));
        await t.advance(5_000);
        t.calm();
        expect(await run.outcome()).toMatchObject({ status: "cancelled" });
        expect((await runsOf("recovery")).map(({ status }) => status)).toEqual(["cancelled"]);
        expect((await t.audit()).repaired).toBe(0);
        await t.stop();
      }
    }
    await open({}, buy);
  });

  test("that is cancelled by hand is begun again", async () => {
    await open({}, pay, ship, buy);
    mended.is = true;
    const run = await t.start(buy, "");
    const [recovery] = await runsOf("recovery");
    await t.controlPlane.cancel(recovery!.id, { reason: "by mistake" });
    expect(await run.result()).toEqual(["paid late", "shipped"]);
    expect((await runsOf("recovery")).map(({ status }) => status).sort()).toEqual(["cancelled", "completed"]);
  });
});

describe("a coordinator's retry", () => {
  test("makes no call again that only has the number of the one that failed its child", async () => {
    let attempts = 0;
    const ok = fn("ok", () => 1);
    const bad = fn("bad", refuse("bad"));
    const flaky = fn("flaky", () => {
      attempts++;
      throw new TerminalError("flaky");
    });
    const child = coordinator("child", async (ctx) => {
      await ctx.call(ok, undefined);
      await ctx.call(bad, undefined);
    });
    const parent = coordinator(
      "parent",
      async (ctx) => {
        const under = ctx.run(child, undefined);
        under.catch(() => undefined);
        await ctx.call(flaky, undefined).catch(() => undefined);
        await under;
      },
      { recover: (ctx) => ctx.retry() },
    );
    await open({}, ok, bad, flaky, child, parent);
    t.delay(bad, 1_000);
    const outcome = await (await t.start(parent)).outcome();
    expect(outcome).toMatchObject({ status: "suspended", failure: { code: "ESCALATED" } });
    expect(attempts).toBe(1);
  });

  test("after parallel failures makes each call again that failed it, and the others stand", async () => {
    const made: string[] = [];
    const leg = fn(
      "leg",
      (name: string) => {
        made.push(name);
        if (made.filter((each) => each === name).length === 1 && name !== "c") throw new TerminalError(name);
        return name;
      },
      { retry: { attempts: 1 } },
    );
    const trip = coordinator("trip", (ctx, _: string) => Promise.all(["a", "b", "c"].map((name) => ctx.call(leg, name))), {
      recover: (ctx) => ctx.retry(),
    });
    for (let commit = 1; commit < 40; commit++) {
      made.length = 0;
      await open({}, leg, trip);
      t.crashAtCommit(commit, commit % 2 === 0 ? "before" : "after");
      expect(await t.run(trip, "", { key: "trip" })).toEqual(["a", "b", "c"]);
      if (t.crashes === 0) return;
      expect((await t.audit()).repaired).toBe(0);
      await t.stop();
    }
    expect.unreachable("it never ends within so many commits");
  });
});
