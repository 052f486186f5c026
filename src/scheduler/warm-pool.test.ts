import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WarmPool } from "./warm-pool.ts";

const OPTIONS = { min: 1, max: 4, memoryMb: 400 };

describe("the warm pool's size", () => {
  test("is the minimum while nothing is taken, or one at a time", () => {
    const pool = new WarmPool(OPTIONS);
    expect(pool.target(0, 50)).toBe(1);
    for (let at = 0; at < 60_000; at += 3_000) pool.taken(at);
    expect(pool.target(60_000, 50)).toBe(1);
  });

  test("follows the most that were taken within two seconds, for three minutes", () => {
    const pool = new WarmPool(OPTIONS);
    for (const at of [10_900, 11_100, 11_200]) pool.taken(at);
    expect(pool.target(12_000, 50)).toBe(3);
    expect(pool.target(190_000, 50)).toBe(3);
    expect(pool.target(193_000, 50)).toBe(1);
  });

  test("stays within its maximum and its memory, but never below its minimum", () => {
    const pool = new WarmPool(OPTIONS);
    for (let i = 0; i < 20; i++) pool.taken(1_000);
    expect([pool.target(1_000, 50), pool.target(1_000, 150), pool.target(1_000, 1_000)]).toEqual([4, 2, 1]);
    expect(new WarmPool({ ...OPTIONS, min: 0 }).target(1_000, 50)).toBe(0);
  });

  test("counts what is expected, until it has had its time", () => {
    const pool = new WarmPool(OPTIONS);
    pool.expect(3, 1_000);
    pool.expect(2, 2_000);
    expect([pool.target(2_000, 50), pool.target(6_999, 50), pool.target(7_000, 50)]).toEqual([3, 3, 1]);
  });

  test("is never more than was taken in the window, nor out of its bounds", () => {
    const takes = fc.array(fc.nat(400_000), { maxLength: 60 });
    fc.assert(
      fc.property(takes, fc.nat(400_000), fc.integer({ min: 1, max: 500 }), (times, now, podMb) => {
        const pool = new WarmPool(OPTIONS);
        const sorted = times.filter((at) => at <= now).sort((a, b) => a - b);
        for (const at of sorted) pool.taken(at);
        const target = pool.target(now, podMb);
        const recent = sorted.filter((at) => at >= now - 182_000).length;
        expect(target).toBeGreaterThanOrEqual(OPTIONS.min);
        expect(target).toBeLessThanOrEqual(Math.max(OPTIONS.min, Math.min(OPTIONS.max, recent, OPTIONS.memoryMb / podMb)));
      }),
    );
  });
});
