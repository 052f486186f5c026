import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keepMs, observeReturns, returnsStart } from "./returns.ts";

const SHORTEST_MS = 10_000;

/** The same pods are needed again and again, after pauses of the given length. */
const peaks = (pauseS: number, count: number) => {
  let returns = returnsStart;
  for (let s = 0; s < count * (pauseS + 2); s++) returns = observeReturns(returns, s % (pauseS + 2) < 2 ? 20 : 2, s * 1_000, SHORTEST_MS);
  return returns;
};

describe("returns", () => {
  it("keeps pods for the pause after which they are needed again, when a start costs more than the pause", () => {
    const kept = keepMs(peaks(50, 10), SHORTEST_MS, 300);
    expect(kept).toBeGreaterThan(50_000);
    expect(kept).toBeLessThanOrEqual(80_000);
  });

  it("gives pods up at once when the pause costs more than a start", () => {
    expect(keepMs(peaks(50, 10), SHORTEST_MS, 15)).toBe(SHORTEST_MS);
  });

  it("does not wait for peaks that have never come back", () => {
    let returns = returnsStart;
    for (let peak = 0; peak < 10; peak++) {
      // Each lower than the one before.
      const at = peak * 1_000_000;
      returns = observeReturns(returns, 200 - 20 * peak, at, SHORTEST_MS);
      for (let s = 1; s < 900; s += 10) returns = observeReturns(returns, 1, at + s * 1_000, SHORTEST_MS);
    }
    expect(keepMs(returnsStart, SHORTEST_MS, 1_000)).toBeGreaterThan(SHORTEST_MS);
    expect(keepMs(returns, SHORTEST_MS, 1_000)).toBe(SHORTEST_MS);
  });

  it("forgets pauses as they were, once they are others", () => {
    let returns = peaks(50, 100);
    for (let s = 6_000; s < 12_000; s++) returns = observeReturns(returns, s % 300 < 2 ? 20 : 2, s * 1_000, SHORTEST_MS);
    expect(keepMs(returns, SHORTEST_MS, 100)).toBe(SHORTEST_MS);
  });

  it("counts what only a part of the pods came back for as that part", () => {
    let returns = observeReturns(returnsStart, 20, 0, SHORTEST_MS);
    returns = observeReturns(returns, 2, 1_000, SHORTEST_MS);
    returns = observeReturns(returns, 2, 31_000, SHORTEST_MS);
    returns = observeReturns(returns, 7, 32_000, SHORTEST_MS);
    const sum = (came: readonly number[]) => came.reduce((total, each) => total + each, 0);
    expect(sum(returns.came) - sum(returnsStart.came)).toBe(5);
    expect(returns.levels.map(({ pods }) => pods)).toEqual([20, 7]);
  });

  it("remembers no more than there were different numbers, and keeps longer for a dearer start", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ pods: fc.nat(8), afterMs: fc.integer({ min: 1, max: 300_000 }) }), { maxLength: 200 }), (seen) => {
        let returns = returnsStart;
        let at = 0;
        for (const { pods, afterMs } of seen) {
          at += afterMs;
          returns = observeReturns(returns, pods, at, SHORTEST_MS);
        }
        const pods = returns.levels.map((level) => level.pods);
        expect(pods).toEqual([...new Set(pods)].sort((a, b) => b - a));
        expect(returns.came.every((each) => each >= 0)).toBe(true);
        expect(keepMs(returns, SHORTEST_MS, 1_000)).toBeGreaterThanOrEqual(keepMs(returns, SHORTEST_MS, 10));
      }),
    );
  });
});
