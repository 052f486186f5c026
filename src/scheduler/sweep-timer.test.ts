import { expect, test } from "vitest";
import type { Clock } from "../lib/clock.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { SweepTimer } from "./sweep-timer.ts";

const setUp = () => {
  const clock = createStepClock(1_000);
  const swept: string[] = [];
  const answers: number[] = [];
  /** How much later than it was asked for each sweep comes, in turn. */
  const delays: number[] = [];
  const slow = { now: () => clock.now(), after: (ms: number, task: () => void) => clock.after(ms + (delays.shift() ?? 0), task) } as Clock;
  const timer = new SweepTimer(slow, (now, isSpared) => {
    swept.push(`${now}${isSpared ? " spared" : ""}`);
    return answers.shift() ?? Number.POSITIVE_INFINITY;
  });
  return { clock, timer, swept, answers, delays };
};

test("it sweeps at the earliest of the times, once", () => {
  const { clock, timer, swept } = setUp();
  timer.at(1_300);
  timer.at(1_100);
  timer.at(1_200);
  clock.advance(1_000);
  expect(swept).toEqual(["1100"]);
});

test("it sweeps again when the sweep says so, and never at once", () => {
  const { clock, timer, swept, answers } = setUp();
  answers.push(1_100, 1_500);
  timer.at(1_100);
  clock.advance(1_000);
  expect(swept).toEqual(["1100", "1102", "1500"]);
});

test("one that comes late spares, and the next one judges however late it comes", () => {
  const { clock, timer, swept, answers, delays } = setUp();
  answers.push(1_100, 1_400, 1_500);
  delays.push(51, 100, 51);
  timer.at(1_100);
  clock.advance(1_000);
  expect(swept).toEqual(["1151 spared", "1253", "1451 spared", "1500"]);
});

test("one that comes a little late spares nobody", () => {
  const { clock, timer, swept, delays } = setUp();
  delays.push(50);
  timer.at(1_100);
  clock.advance(1_000);
  expect(swept).toEqual(["1150"]);
});

test("once stopped it sweeps no more", () => {
  const { clock, timer, swept } = setUp();
  timer.at(1_100);
  timer.stop();
  clock.advance(1_000);
  expect(swept).toEqual([]);
});
