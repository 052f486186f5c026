import { expect, test } from "vitest";
import { createStepClock } from "../testing/step-clock.ts";
import { Timers } from "./timers.ts";

const setUp = () => {
  const clock = createStepClock(1_000);
  const awaited = new Set<string>();
  const fired: string[] = [];
  const timers = new Timers(
    clock,
    (run, seq) => fired.push(`${run}/${seq} at ${clock.now()}`),
    (run, seq) => awaited.has(`${run}/${seq}`),
  );
  const arm = (run: string, seq: number, dueAt: number): void => {
    awaited.add(`${run}/${seq}`);
    timers.arm(run, seq, dueAt);
  };
  return { clock, awaited, fired, timers, arm };
};

test("timers fire at their time, in their order", () => {
  const { clock, fired, arm } = setUp();
  arm("b", 1, 3_000);
  arm("a", 2, 2_000);
  arm("a", 1, 2_000);
  clock.advance(5_000);
  expect(fired).toEqual(["a/2 at 2000", "a/1 at 2000", "b/1 at 3000"]);
});

test("timers that nobody awaits any more do not gather until their time comes", () => {
  const { awaited, timers, arm } = setUp();
  for (let i = 0; i < 100_000; i++) {
    arm("a", i, 1_000_000_000 + i);
    awaited.delete(`a/${i}`);
  }
  expect(timers.size).toBeLessThan(2_000);
});

test("one that a run arms anew each time that it comes back is kept once, and none that is awaited is lost", () => {
  const { clock, fired, timers, arm } = setUp();
  for (let i = 0; i < 3_000; i++) arm("patient", i, 5_000 - i);
  for (let i = 0; i < 50_000; i++) arm("back", 1, 6_000);
  expect(timers.size).toBeLessThan(10_000);
  clock.advance(10_000);
  expect(fired.filter((text) => text.startsWith("patient"))).toHaveLength(3_000);
  expect(fired[0]).toBe("patient/2999 at 2001");
  expect(fired).toContain("back/1 at 6000");
});

test("a timer that the clock was set back under, and that is armed again, waits for its time", () => {
  const clock = createStepClock(1_000);
  const fired: number[] = [];
  const timers: Timers = new Timers(
    clock,
    (run, seq) => {
      fired.push(clock.now());
      if (fired.length > 3) throw new Error("it fires for ever");
      if (fired.length > 1) return;
      clock.pause(-300);
      timers.arm(run, seq, 1_100);
    },
    () => true,
  );
  timers.arm("run_00000000001", 1, 1_100);
  clock.advance(100);
  expect(fired).toEqual([1_100, 1_100]);
});
