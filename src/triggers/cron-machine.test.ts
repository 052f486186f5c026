import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CatchUp, dueTicks, type Ticks } from "./cron-machine.ts";
import { Schedule } from "./schedule.ts";

/** Ticks at these times. */
const at = (...times: number[]): Ticks => ({
  next: (after) => times.find((time) => time > after),
  latest: (after, until) => times.filter((time) => time > after && time <= until).at(-1),
});

const ten = at(10, 20, 30, 40, 50, 60, 70, 80, 90, 100);

describe("ticks that are due", () => {
  test.each<[string, CatchUp, { last: number; now: number; missed: number }, number[], number]>([
    ["none before its time", "latest", { last: 10, now: 19, missed: 0 }, [], 10],
    ["at its time", "latest", { last: 10, now: 20, missed: 0 }, [20], 20],
    ["all that came while the platform was up", "none", { last: 10, now: 45, missed: 0 }, [20, 30, 40], 40],
    ["the latest of those missed", "latest", { last: 10, now: 55, missed: 50 }, [50], 50],
    ["the latest of those missed, and what came since", "latest", { last: 10, now: 65, missed: 45 }, [40, 50, 60], 60],
    ["none of those missed, but what came since", "none", { last: 10, now: 65, missed: 45 }, [50, 60], 60],
    ["all of those missed", "all", { last: 10, now: 65, missed: 45 }, [20, 30, 40, 50, 60], 60],
    ["none when the clock went back", "all", { last: 50, now: 35, missed: 35 }, [], 50],
    ["none when it went back and on again, short of the last", "latest", { last: 50, now: 50, missed: 50 }, [], 50],
    ["nothing missed when nothing was", "latest", { last: 50, now: 55, missed: 55 }, [], 50],
  ])("%s", (_, catchUp, { last, now, missed }, ticks, settled) => {
    expect(dueTicks(ten, last, now, missed, catchUp, 100)).toEqual({ ticks, last: settled });
  });

  test("are given a few at a time, and then the others", () => {
    const first = dueTicks(ten, 0, 100, 100, "all", 4);
    expect(first).toEqual({ ticks: [10, 20, 30, 40], last: 40 });
    expect(dueTicks(ten, first.last, 100, 100, "all", 4).ticks).toEqual([50, 60, 70, 80]);
  });

  test("are never given twice, and none that came while up is left out, whatever the clock does", () => {
    const clocks = fc.array(fc.tuple(fc.integer({ min: -300, max: 300 }), fc.boolean()), { maxLength: 30 });
    const schedule = at(...Array.from({ length: 500 }, (_, i) => (i + 1) * 7));
    fc.assert(
      fc.property(clocks, fc.constantFrom<CatchUp>("all", "latest", "none"), (moves, catchUp) => {
        let now = 1_000;
        let last = now;
        let upAt = now;
        const given: number[] = [];
        for (const [by, isRestart] of moves) {
          const before = now;
          now = Math.max(0, now + by);
          if (isRestart) upAt = now;
          const due = dueTicks(schedule, last, now, isRestart ? upAt : Math.min(upAt, before), catchUp, 10_000);
          for (const tick of due.ticks) {
            expect(tick).toBeLessThanOrEqual(now);
            expect(given).not.toContain(tick);
            given.push(tick);
          }
          last = due.last;
        }
        if (catchUp !== "all") return;
        const greatest = given.at(-1) ?? 0;
        expect(given).toEqual(Array.from({ length: 500 }, (_, i) => (i + 1) * 7).filter((tick) => tick > 1_000 && tick <= greatest));
      }),
    );
  });
});

describe("a schedule", () => {
  const schedules = fc.record({
    cron: fc.constantFrom("*/5 * * * *", "30 2 * * *", "0 0 L * *", "15 10 * * MON-FRI", "* * * * * *", "30 1-3/2 * * SUN", "0 0 29 2 *"),
    timezone: fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"),
  });
  const times = fc.integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2030, 0, 1) });

  test("ticks ever later, in every time zone and night", () => {
    fc.assert(
      fc.property(schedules, times, (trigger, from) => {
        const schedule = new Schedule(trigger);
        for (let last = from, i = 0; i < 5; i++) {
          const next = schedule.next(last) as number;
          expect(next).toBeGreaterThan(last);
          last = next;
        }
      }),
      { numRuns: 200 },
    );
  });

  test("finds the last tick before a time, the same as by counting", () => {
    fc.assert(
      fc.property(schedules, times, fc.integer({ min: 0, max: 300_000 }), (trigger, from, span) => {
        const schedule = new Schedule(trigger);
        let counted: number | undefined;
        for (let tick = schedule.next(from); tick !== undefined && tick <= from + span; tick = schedule.next(tick)) counted = tick;
        expect(schedule.latest(from, from + span)).toBe(counted);
      }),
      { numRuns: 100 },
    );
  });

  test("finds it at once among millions", () => {
    const schedule = new Schedule({ cron: "* * * * * *" });
    expect(schedule.latest(0, Date.UTC(2026, 0, 1) + 500)).toBe(Date.UTC(2026, 0, 1));
  });

  test("that is none is refused", () => {
    expect(() => new Schedule({ cron: "* * * * * * * *" })).toThrow("is no schedule");
    expect(() => new Schedule({ cron: "* * * * *", timezone: "Nowhere" })).toThrow("is no schedule");
  });
});
