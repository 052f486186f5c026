import { describe, expect, test } from "vitest";
import type { Clock } from "../lib/clock.ts";
import type { StateChange } from "../protocol/state.ts";
import { Crons } from "./crons.ts";
import type { CronTrigger } from "./match.ts";
import { subscriptionsOf } from "./match.ts";

const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2026, 0, 1);

/** Timers that follow one clock, and a wall clock that can be set apart from it. */
class WallClock implements Clock {
  wall = START_MS;
  #elapsed = 0;
  #timers: { at: number; fire: () => void }[] = [];

  now(): number {
    return this.wall;
  }

  after(delayMs: number, fire: () => void): () => void {
    const timer = { at: this.#elapsed + Math.max(0, delayMs), fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  endOfTurn(): void {}

  get timers(): number {
    return this.#timers.length;
  }

  /** Lets time pass on both. */
  pass(ms: number): void {
    const end = this.#elapsed + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.wall += next.at - this.#elapsed;
      this.#elapsed = next.at;
      next.fire();
    }
    this.wall += end - this.#elapsed;
    this.#elapsed = end;
  }
}

const open = (trigger: CronTrigger) => {
  const clock = new WallClock();
  const ticks: number[] = [];
  const rows: StateChange[] = [];
  const warnings: string[] = [];
  const manifest = { functions: [{ name: "tick", on: [trigger] }], coordinators: [] };
  const { crons: subscriptions } = subscriptionsOf([{ application: "shop", version: "1", manifest, deployedAt: START_MS, current: true }]);
  const make = (): Crons => {
    const crons = new Crons({
      clock,
      put: (changes) => void rows.push(...changes),
      nextVersion: () => rows.length + 1,
      start: (_, tick) => `run_${ticks.push(tick)}`,
      deployedAt: () => START_MS,
      warn: (line) => void warnings.push(line),
    });
    crons.load(rows.slice(-1).map(({ key, value = "", version }) => ({ key, value, version })));
    crons.replace(subscriptions);
    crons.start();
    return crons;
  };
  const at = (...minutes: number[]): number[] => minutes.map((minute) => START_MS + minute * MINUTE_MS);
  return { clock, ticks, rows, warnings, make, at, subscriptions };
};

describe("a wall clock", () => {
  test("that is set back starts no tick twice, and goes on with the first tick after the last", () => {
    const { clock, ticks, make, at } = open({ cron: "* * * * *", catchUp: "all" });
    make();
    clock.pass(3 * MINUTE_MS);
    clock.wall -= 2.5 * MINUTE_MS;
    clock.pass(2.4 * MINUTE_MS);
    expect(ticks).toEqual(at(1, 2, 3));
    clock.pass(1.1 * MINUTE_MS);
    expect(ticks).toEqual(at(1, 2, 3, 4));
  });

  test("that is behind after a restart starts none twice either, and says for what it waits", () => {
    const { clock, ticks, make, at, warnings } = open({ cron: "* * * * *", catchUp: "all" });
    const first = make();
    clock.pass(3 * MINUTE_MS);
    first.stop();
    clock.wall -= 10 * MINUTE_MS;
    make();
    clock.pass(10 * MINUTE_MS);
    expect(ticks).toEqual(at(1, 2, 3));
    expect(warnings).toEqual([expect.stringContaining('the clock is behind the last tick of function "tick"')]);
    clock.pass(MINUTE_MS);
    expect(ticks).toEqual(at(1, 2, 3, 4));
  });

  test("that is set forward is noticed long before the timer would fire", () => {
    const { clock, ticks, make, at } = open({ cron: "0 * * * *" });
    make();
    clock.wall += 59.5 * MINUTE_MS;
    clock.pass(0.5 * MINUTE_MS);
    expect(ticks).toEqual(at(60));
  });

  test.each([
    ["all", [1, 2, 3, 4, 5, 6, 7]],
    ["latest", [1, 6, 7]],
    ["none", [1, 7]],
  ] as const)("of a machine that slept makes its ticks missed ones: %s", (catchUp, expected) => {
    const { clock, ticks, make, at } = open({ cron: "* * * * *", catchUp });
    make();
    clock.pass(1.5 * MINUTE_MS);
    clock.wall += 5 * MINUTE_MS;
    clock.pass(0.5 * MINUTE_MS);
    expect(ticks).toEqual(at(...expected));
  });
});

test("a tick's row holds the tick and its run; without ticks there is none", () => {
  const { clock, rows, make, subscriptions } = open({ cron: "0  0 1 1 *", timezone: "Europe/Berlin" });
  const crons = make();
  clock.pass(24 * 60 * MINUTE_MS);
  expect(rows).toEqual([]);
  const year = Date.UTC(2026, 11, 31, 23);
  clock.wall = year;
  clock.pass(MINUTE_MS);
  expect(rows).toEqual([
    {
      space: "$triggers",
      key: "cron/shop/function/tick/Europe/Berlin 0 0 1 1 *",
      version: 1,
      value: JSON.stringify({ last: year, run: "run_1" }),
    },
  ]);
  expect(crons.view(subscriptions[0] as never)).toEqual({ next: Date.UTC(2027, 11, 31, 23), last: { at: year, run: "run_1" } });
});

test("nothing is armed without schedules, nor after the end", () => {
  const { clock, make } = open({ cron: "* * * * *" });
  const crons = make();
  expect(clock.timers).toBeGreaterThan(0);
  crons.stop();
  expect(clock.timers).toBe(0);
  crons.replace([]);
  crons.start();
  expect(clock.timers).toBe(0);
});
