import { expect, test } from "vitest";
import { Timeline } from "./timeline.ts";

const DAY_MS = 86_400_000;
const timeline = (horizon: () => number | undefined = () => undefined, patienceMs = 0) =>
  new Timeline({ startMs: 0, patienceMs, horizon: async () => horizon() });

test("timers fire at their time, in order, and all that one sets off happens before the next", async () => {
  const time = timeline();
  const { clock } = time.life();
  const log: string[] = [];
  const at = (name: string, ms: number) =>
    clock.after(ms, () => queueMicrotask(() => clock.endOfTurn(() => log.push(`${name} at ${clock.now()}`))));
  at("second", 20);
  at("first", 10);
  at("never", 31);
  clock.after(10, () => log.push("beside the first"));
  await time.advance(30);
  expect(log).toEqual(["first at 10", "beside the first", "second at 20"]);
  expect(time.now).toBe(30);
});

test("each end of a turn is a turn of its own: the microtasks of one are over before the next", async () => {
  const time = timeline();
  const { clock } = time.life();
  const log: string[] = [];
  for (const name of ["a", "b"]) {
    clock.endOfTurn(() => {
      log.push(name);
      queueMicrotask(() => queueMicrotask(() => log.push(`${name}, and after`)));
    });
  }
  await time.settle();
  expect(log).toEqual(["a", "a, and after", "b", "b, and after"]);
});

test("upkeep is passed over while nothing happens, and runs true to time around what does", async () => {
  const time = timeline();
  const { clock } = time.life();
  let ticks = 0;
  let lastTick = 0;
  const tick = (): void => {
    ticks++;
    lastTick = clock.now();
    clock.after(100, tick, "upkeep");
  };
  tick();
  let gap = Number.NaN;
  clock.after(30 * DAY_MS, () => {
    gap = clock.now() - lastTick;
  });
  await time.advance(60 * DAY_MS);
  expect(gap).toBeLessThanOrEqual(100);
  expect(ticks).toBeGreaterThan(600);
  expect(ticks).toBeLessThan(5_000);
  expect(time.now).toBe(60 * DAY_MS);
});

test("what only the horizon knows of isn't passed over", async () => {
  const due = 10 * DAY_MS;
  const time = timeline(() => (time.now < due ? due : undefined));
  const { clock } = time.life();
  let seen = 0;
  const look = (): void => {
    if (seen === 0 && clock.now() >= due) seen = clock.now();
    clock.after(1_000, look, "upkeep");
  };
  look();
  await time.advance(20 * DAY_MS);
  expect(seen - due).toBeLessThan(1_000);
});

test("next tells when nothing but upkeep is left, and when the end is reached", async () => {
  const time = timeline();
  const { clock } = time.life();
  const tick = (): void => void clock.after(1_000, tick, "upkeep");
  tick();
  clock.after(5_000, () => {});
  let moves = 0;
  let moved = await time.next(4_500);
  for (; moved === "moved"; moves++) moved = await time.next(4_500);
  expect([moved, moves]).toEqual(["reached", 4]);
  do moved = await time.next(DAY_MS);
  while (moved === "moved");
  expect(moved).toBe("idle");
});

test("drive moves time as far as an answer needs and no further", async () => {
  const time = timeline();
  const { clock } = time.life();
  clock.after(70, () => {});
  expect(await time.drive(new Promise<string>((resolve) => void clock.after(50, () => resolve("answer"))))).toBe("answer");
  expect(time.now).toBe(50);
  await expect(time.drive(Promise.reject(new Error("refused")))).rejects.toThrow("refused");
  await expect(time.drive(new Promise(() => {}))).rejects.toThrow("nothing is left");
});

test("a life that has ended does nothing any more", async () => {
  const time = timeline();
  const life = time.life();
  let happened = 0;
  life.clock.after(10, () => happened++);
  life.clock.endOfTurn(() => happened++);
  life.end();
  await time.advance(20);
  expect([happened, life.ended]).toEqual([0, true]);
});

test("user code that is under way is waited for, up to the patience, and then left to itself", async () => {
  const time = timeline(undefined, 30);
  const done = time.work();
  setTimeout(done, 5);
  await time.settle();
  expect(time.isWorking).toBe(false);
  time.work();
  const before = performance.now();
  await time.advance(1_000);
  expect(performance.now() - before).toBeGreaterThanOrEqual(29);
  expect([time.isWorking, time.now]).toEqual([true, 1_000]);
});

test("what the platform's own code throws rejects the test's next wait, once", async () => {
  const time = timeline();
  const { clock } = time.life();
  clock.after(10, () => {
    throw new Error("a defect");
  });
  await expect(time.advance(20)).rejects.toThrow("a defect");
  await time.settle();
});

test("something that never comes to rest is reported instead of hanging the test", async () => {
  const time = timeline();
  const { clock } = time.life();
  const again = (): void => clock.endOfTurn(again);
  again();
  await expect(time.settle()).rejects.toThrow("never comes to rest");
});

test("time moves forwards only", () => {
  expect(() => timeline().advance(-1)).toThrow(RangeError);
  expect(() => timeline().advance(Number.NaN)).toThrow(RangeError);
});
