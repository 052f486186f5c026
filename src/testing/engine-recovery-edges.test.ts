import { coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, expect, test } from "vitest";

let t: TestPlatform;
const open = async (...application: unknown[]): Promise<TestPlatform> => {
  t = await createTestPlatform({ application: application as never, patienceMs: 20 });
  return t;
};
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const refuse =
  (why: string) =>
  (_: number): number => {
    throw new TerminalError(why);
  };

test("a function that its own recovery calls is not recovered there in turn, but fails that recovery", async () => {
  let made = 0;
  const pay: ReturnType<typeof fn<undefined, number>> = fn(
    "pay",
    (): number => {
      made++;
      throw new TerminalError("no");
    },
    {
      recover: async (ctx) => {
        await ctx.call(pay, undefined);
        return ctx.retry();
      },
    },
  );
  await open(pay);
  const outcome = await (await t.start(pay, undefined)).outcome();
  expect(outcome).toMatchObject({ status: "suspended", failure: { code: "RECOVERY_FAILED", cause: { code: "TERMINAL" } } });
  expect(made).toBe(1 + 3);
});

test("a recovery sees the failure of what it calls, and decides by it", async () => {
  const undo = fn("undo", refuse("too late"), { retry: { attempts: 1 } });
  const pay = fn("pay", refuse("no"), {
    recover: async (ctx) => {
      const why = await ctx.call(undo, 1).catch((error: Error) => error.message);
      return ctx.resumeWith(why);
    },
  });
  await open(pay, undo);
  expect(await t.call(pay, 1)).toBe("too late");
});

test("what a recovery is told of the run has each call once, as it ended", async () => {
  const reports: unknown[] = [];
  let failures = 1;
  const flaky = fn(
    "flaky",
    (x: number) => {
      if (failures-- > 0) throw new TerminalError("not yet");
      return x;
    },
    { retry: { attempts: 1 } },
  );
  const last = fn("last", refuse("no"));
  const buy = coordinator("buy", async (ctx) => ctx.call(last, await ctx.call(flaky, 1)), {
    recover: (ctx, { calls, recoveries }) => {
      if (recoveries === 0) return ctx.retry({ input: 2 });
      reports.push(calls);
      return ctx.resumeWith("done");
    },
  });
  await open(flaky, last, buy);
  expect(await t.run(buy)).toBe("done");
  expect(reports[0]).toEqual([
    { seq: 1, function: "flaky", input: 2, value: 2 },
    { seq: 2, function: "last", input: 2, failure: expect.objectContaining({ message: "no" }) },
  ]);
});

const log: string[] = [];
const book = fn("book", (name: string) => name, { compensate: (_, { output }) => void log.push(output) });
const seat = fn("seat", refuse("no seat"), { recover: (ctx) => ctx.compensate() });
const pay = fn("pay", refuse("no money"), { retry: { attempts: 1 } });

/** The failure of one branch ends the code while the other branch's recovery has the run compensated. */
const trip = coordinator("trip", async (ctx, _: string) => {
  for (const name of ["a", "b", "c"]) await ctx.call(book, name);
  await Promise.all([ctx.call(seat, 1), ctx.call(pay, 1)]);
});

test("a run whose coordinator ends while it is compensated is compensated to the end, whatever commit a crash comes at", async () => {
  for (let commit = 1; commit < 40; commit++) {
    for (const point of ["before", "after"] as const) {
      await open(book, seat, pay, trip);
      // It is under way when the other branch's recovery decides.
      t.delay(pay, 10_000);
      log.length = 0;
      t.crashAtCommit(commit, point);
      const outcome = await (await t.start(trip, "", { key: "trip" })).outcome();
      const { crashes } = t;
      t.calm();
      expect(outcome).toMatchObject({ status: "failed", failure: { message: "no money" } });
      const inOrder = log.filter((name, i) => name !== log[i - 1]);
      expect(inOrder).toEqual(["c", "b", "a"]);
      const records = await (await t.start(trip, "", { key: "trip" })).journal();
      expect(records.flatMap((record) => (record.t === "done" && record.seq < 0 ? [record.seq] : []))).toEqual([-3, -2, -1]);
      if (crashes === 0) return;
      expect((await t.audit()).repaired).toBe(0);
      await t.stop();
    }
  }
  expect.unreachable("the run never ends within so many commits");
});

test("a failed run that is being compensated is not cut off by a cancellation", async () => {
  log.length = 0;
  const slow = fn("slow", (name: string) => name, {
    compensate: (ctx, { output }) => {
      if (ctx.attempt === 1) throw new Error("not yet");
      log.push(output);
    },
    retry: { attempts: 3, backoff: { initialMs: 10_000, jitter: 0 } },
  });
  const failing = coordinator(
    "failing",
    async (ctx) => {
      for (const name of ["a", "b"]) await ctx.call(slow, name);
      throw new Error("no");
    },
    { recover: (ctx) => ctx.compensate() },
  );
  await open(slow, failing);
  const run = await t.start(failing);
  await t.advance(5_000);
  await t.controlPlane.cancel(run.id, { reason: "enough" });
  expect(await run.outcome()).toMatchObject({ status: "failed", failure: { message: "no" } });
  expect(log).toEqual(["b", "a"]);
});
