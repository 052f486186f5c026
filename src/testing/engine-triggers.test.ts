import { coordinator, fn } from "lockstep";
import type { CrashPoint, TestApplication } from "lockstep/testing";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test } from "vitest";
import type { RunSummary } from "../protocol/run.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 0, 1);

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const begin = async (application: TestApplication, startMs = START_MS): Promise<void> => {
  t = await createTestPlatform({ application, startMs });
};

/** All runs of a definition, the first first. */
const runsOf = async (name: string): Promise<RunSummary[]> =>
  (await t.ask((plane) => plane.runs({ name }, 1_000))).runs.sort((a, b) => (a.id < b.id ? -1 : 1));

const inputOf = async (run: RunSummary): Promise<unknown> => JSON.parse((await t.ask((plane) => plane.run(run.id))).input);

const inputsOf = async (name: string): Promise<unknown[]> => Promise.all((await runsOf(name)).map(inputOf));

const ticksOf = async (name: string): Promise<number[]> =>
  ((await inputsOf(name)) as { scheduledAt: number }[]).map(({ scheduledAt }) => scheduledAt);

const minutes = (from: number, to: number, step = 1): number[] => {
  const ticks: number[] = [];
  for (let minute = from; minute <= to; minute += step) ticks.push(START_MS + minute * MINUTE_MS);
  return ticks;
};

describe("a schedule", () => {
  const every = (cron: string, more: object = {}) => fn("tick", (_: { scheduledAt: number }) => undefined, { on: { cron, ...more } });

  test("starts a run at each tick, with the tick's time", async () => {
    await begin([every("*/5 * * * *")]);
    await t.advance(20 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(minutes(5, 20, 5));
    expect((await runsOf("tick")).map(({ acceptedAt, status }) => [acceptedAt, status])).toEqual(
      minutes(5, 20, 5).map((at) => [at, "completed"]),
    );
  });

  test("starts coordinators too, and counts seconds when it has six fields", async () => {
    await begin([coordinator("tick", async () => 1, { on: { cron: "*/20 * * * * *" } })]);
    await t.advance(MINUTE_MS);
    expect(await ticksOf("tick")).toEqual([20_000, 40_000, 60_000].map((ms) => START_MS + ms));
  });

  test("keeps to its time zone when clocks change", async () => {
    await begin([every("30 2 * * *", { timezone: "Europe/Berlin" })], Date.UTC(2026, 2, 27, 12));
    await t.advance(3 * 24 * HOUR_MS);
    // On the 29th there is no 2:30; at 3:00 summer time it is made up for.
    expect(await ticksOf("tick")).toEqual([Date.UTC(2026, 2, 28, 1, 30), Date.UTC(2026, 2, 29, 1, 0), Date.UTC(2026, 2, 30, 0, 30)]);
  });

  test("happens once in an hour that happens twice", async () => {
    await begin([every("30 2 * * *", { timezone: "Europe/Berlin" })], Date.UTC(2026, 9, 24, 12));
    await t.advance(2 * 24 * HOUR_MS);
    expect(await ticksOf("tick")).toEqual([Date.UTC(2026, 9, 25, 0, 30), Date.UTC(2026, 9, 26, 1, 30)]);
  });

  test.each([
    ["latest", [60], minutes(60, 65, 5)],
    ["all", [10, 60], minutes(5, 65, 5)],
    ["none", [], minutes(65, 65, 5)],
  ] as const)("that was missed while the platform was down is caught up with: %s", async (catchUp, _, expected) => {
    await begin([every("*/5 * * * *", { catchUp })]);
    await t.crash({ downMs: 62 * MINUTE_MS });
    await t.advance(5 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(expected);
  });

  test("whose missed ticks are many is caught up with in pieces, in order", async () => {
    await begin([every("* * * * *", { catchUp: "all" })]);
    await t.crash({ downMs: 350 * MINUTE_MS });
    await t.advance(MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(minutes(1, 351));
  });

  test.each<CrashPoint>(["before", "after"])(
    "misses and doubles nothing when the control plane dies %s each commit in turn",
    async (point) => {
      for (let commits = 1, crashed = true; crashed; commits++) {
        await begin([every("* * * * *", { catchUp: "all" })]);
        t.crashAtCommit(commits, point);
        await t.advance(5 * MINUTE_MS);
        expect(await ticksOf("tick"), `crash ${point} commit ${commits}`).toEqual(minutes(1, 5));
        crashed = t.crashes > 0;
        if (crashed) await t.stop();
        else expect(commits).toBeGreaterThan(10);
      }
    },
  );

  test("that a new version has too goes on; one that is changed starts afresh, also when it comes back", async () => {
    await begin([every("*/10 * * * *", { catchUp: "all" })]);
    await t.advance(15 * MINUTE_MS);
    await t.deploy([every("*/10 * * * *", { catchUp: "all" }), fn("other", () => 1)]);
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(minutes(10, 20, 10));
    const [, second] = await runsOf("tick");
    expect(second?.version).toBe(
      t.controlPlane.triggers().length === 1 ? (await t.ask((plane) => plane.applications())).find(({ current }) => current)?.version : "",
    );
    await t.deploy([every("*/3 * * * *", { catchUp: "all" })]);
    await t.advance(30 * MINUTE_MS);
    await t.deploy([every("*/10 * * * *", { catchUp: "all" })]);
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual([...minutes(10, 20, 10), ...minutes(27, 54, 3), ...minutes(60, 60)]);
  });

  test("is no longer there when a version has none", async () => {
    await begin([every("* * * * *")]);
    await t.advance(2 * MINUTE_MS);
    await t.deploy([fn("tick", () => 1)]);
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toHaveLength(2);
    expect(t.controlPlane.triggers()).toEqual([]);
  });

  test("is shown with its next tick and its last run", async () => {
    await begin([every("*/5 * * * *", { timezone: "UTC" })]);
    const view = { kind: "function", name: "tick", application: "application", trigger: { cron: "*/5 * * * *", timezone: "UTC" } };
    expect(t.controlPlane.triggers()).toEqual([{ ...view, next: START_MS + 5 * MINUTE_MS }]);
    await t.advance(6 * MINUTE_MS);
    await t.crash();
    const [run] = await runsOf("tick");
    expect(t.controlPlane.triggers()).toEqual([
      { ...view, next: START_MS + 10 * MINUTE_MS, last: { at: START_MS + 5 * MINUTE_MS, run: run?.id } },
    ]);
  });

  test("that never comes is refused", async () => {
    await begin([every("*/5 * * * *")]);
    await expect(t.deploy([every("0 0 30 2 *")])).rejects.toMatchObject({ code: "APPLICATION_INVALID", details: { field: "on.cron" } });
  });
});

describe("an event", () => {
  const work = fn("work", (n: number) => n + 1);

  test("starts what listens to it, with the event as the input", async () => {
    const seen = fn("seen", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "work", status: "completed" } } });
    await begin([work, seen]);
    await t.call(work, 1);
    await t.advance(1_000);
    const [{ id }] = (await runsOf("work")) as [RunSummary];
    expect(await inputsOf("seen")).toEqual([
      { at: START_MS, type: "run.finished", run: id, name: "work", status: "completed", durationMs: expect.any(Number) },
    ]);
  });

  test("starts a definition once, however many of its triggers fit", async () => {
    const seen = fn("seen", (_: unknown) => undefined, {
      on: [{ event: ["run.*", "run.finished"], where: { name: "work" } }, { event: "run.finished" }],
    });
    await begin([work, seen]);
    await t.call(work, 1);
    await t.advance(1_000);
    expect((await inputsOf("seen")).map((input) => (input as { type: string }).type)).toEqual(["run.accepted", "run.finished"]);
  });

  test("whose fields differ starts nothing", async () => {
    const on = { event: "run.finished", where: { status: "failed", "failure.code": "X" } } as const;
    await begin([work, fn("seen", (_: unknown) => undefined, { on })]);
    await t.call(work, 1);
    await t.advance(1_000);
    expect(await runsOf("seen")).toEqual([]);
  });

  test("of what it has started does not start it again", async () => {
    const child = coordinator("child", async () => 1);
    const watcher = coordinator("watcher", async (ctx) => ctx.run(child, undefined), { on: { event: ["run.*", "call.*"] } });
    await begin([work, child, watcher]);
    await t.call(work, 1);
    await t.advance(HOUR_MS);
    // Once for the acceptance and once for the end of the one run that a client has started.
    expect(await runsOf("watcher")).toHaveLength(2);
  });

  test("of a chain that comes back to where it was starts nothing more", async () => {
    const ping = fn("ping", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "pong" } } });
    const pong = fn("pong", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "ping" } } });
    await begin([ping, pong]);
    await t.call(ping, {});
    await t.advance(HOUR_MS);
    expect([(await runsOf("ping")).length, (await runsOf("pong")).length]).toEqual([2, 1]);
  });

  test.each<CrashPoint>(["before", "after"])(
    "and the run that it starts are one: the control plane dies %s each commit in turn",
    async (point) => {
      const seen = fn("seen", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "work" } } });
      for (let commits = 1, crashed = true; crashed; commits++) {
        await begin([work, seen]);
        t.crashAtCommit(commits, point);
        const runs = await Promise.all([1, 2, 3].map((n) => t.start(work, n, { key: `k${n}` })));
        for (const run of runs) expect(await run.result()).toBeGreaterThan(1);
        await t.advance(MINUTE_MS);
        const started = ((await inputsOf("seen")) as { run: string }[]).map(({ run }) => run).sort();
        expect(started, `crash ${point} commit ${commits}`).toEqual(runs.map(({ id }) => id).sort());
        // The event is there exactly when its run is, and once.
        const finished = (await t.events()).filter((event) => event.type === "run.finished" && event.name === "work");
        expect(finished).toHaveLength(3);
        crashed = t.crashes > 0;
        if (crashed) await t.stop();
      }
    },
  );
});
