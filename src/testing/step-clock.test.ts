import { expect, test } from "vitest";
import { createStepClock } from "./step-clock.ts";

test("timers fire at their time, in its order and then in the order in which they were set", () => {
  const clock = createStepClock(1_000);
  const fired: [string, number][] = [];
  const at = (name: string, delayMs: number) => clock.after(delayMs, () => fired.push([name, clock.now()]));
  at("late", 30);
  at("first", 10);
  at("second", 10);
  at("past", -5);
  clock.advance(20);
  expect(fired).toEqual([
    ["past", 1_000],
    ["first", 1_010],
    ["second", 1_010],
  ]);
  expect([clock.now(), clock.timers]).toEqual([1_020, 1]);
  clock.advance(10);
  expect(fired.at(-1)).toEqual(["late", 1_030]);
});

test("a timer that is set or cancelled by another one counts", () => {
  const clock = createStepClock();
  const fired: number[] = [];
  const cancel = clock.after(5, () => fired.push(-1));
  const again = () => {
    fired.push(clock.now());
    cancel();
    clock.after(4, again);
  };
  clock.after(4, again);
  clock.advance(12);
  cancel();
  expect(fired).toEqual([4, 8, 12]);
  expect(clock.timers).toBe(1);
});

test("what waits for the end of a turn runs before time moves on, and what it asks for in the turn after", () => {
  const clock = createStepClock();
  const log: string[] = [];
  clock.endOfTurn(() => {
    log.push(`first at ${clock.now()}`);
    clock.endOfTurn(() => log.push(`second at ${clock.now()}`));
  });
  clock.after(1, () => clock.endOfTurn(() => log.push(`third at ${clock.now()}`)));
  clock.after(2, () => log.push(`timer at ${clock.now()}`));
  expect(clock.turn()).toBe(true);
  expect(log).toEqual(["first at 0"]);
  clock.advance(5);
  expect(log).toEqual(["first at 0", "second at 0", "third at 1", "timer at 2"]);
  expect(clock.turn()).toBe(false);
});

test("after a pause what became due meanwhile fires late", () => {
  const clock = createStepClock();
  const fired: number[] = [];
  clock.after(10, () => fired.push(clock.now()));
  clock.pause(500);
  expect(fired).toEqual([]);
  clock.advance(0);
  expect(fired).toEqual([500]);
});

test("code that awaits sees each instant at its own time", async () => {
  const clock = createStepClock();
  const seen: number[] = [];
  const sleep = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));
  const program = (async () => {
    for (const ms of [1, 2, 3]) {
      await sleep(ms);
      seen.push(clock.now());
    }
    await new Promise<void>((resolve) => clock.endOfTurn(resolve));
    seen.push(clock.now());
  })();
  await clock.elapse(100);
  await program;
  expect(seen).toEqual([1, 3, 6, 6]);
  expect(clock.now()).toBe(100);
});

test("callbacks that never cease are reported instead of hanging the test", () => {
  const clock = createStepClock();
  const turnForEver = () => clock.endOfTurn(turnForEver);
  turnForEver();
  expect(() => clock.advance(1)).toThrow("for ever");
  const timers = createStepClock();
  const timeForEver = () => void timers.after(0, timeForEver);
  timeForEver();
  expect(() => timers.advance(1)).toThrow("for ever");
});
