import fc from "fast-check";
import { expect, test } from "vitest";
import { Recent } from "./recent.ts";

test("what it gives is what was set last, and what is used between is kept", () => {
  const recent = new Recent<number>(20, () => 1);
  recent.set("used", 0);
  for (let i = 1; i <= 1_000; i++) {
    recent.set("used", i);
    recent.set(`passing ${i}`, i);
    expect(recent.get("used")).toBe(i);
  }
  expect([recent.get("passing 1000"), recent.get("passing 1")]).toEqual([1_000, undefined]);
});

test("what is only read stays as well", () => {
  const recent = new Recent<number>(20, () => 1);
  recent.set("read", 7);
  for (let i = 0; i < 1_000; i++) {
    recent.set(`passing ${i}`, i);
    expect(recent.get("read")).toBe(7);
  }
});

test("it never holds more than its weight, nor a value that is not the last", () => {
  const step = fc.record({ key: fc.constantFrom("a", "b", "c", "d", "e", "f"), weight: fc.integer({ min: 1, max: 12 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const recent = new Recent<{ weight: number; at: number }>(20, (_, { weight }) => weight);
      const last = new Map<string, number>();
      for (const [at, { key, weight }] of steps.entries()) {
        recent.set(key, { weight, at });
        last.set(key, at);
        if (weight > 10) expect(recent.get(key)).toBeUndefined();
      }
      const held = [...last].flatMap(([key, at]) => {
        const found = recent.get(key);
        if (found !== undefined) expect(found.at).toBe(at);
        return found ?? [];
      });
      // Looking moves what is old, so one more generation may have passed by.
      expect(held.reduce((sum, { weight }) => sum + weight, 0)).toBeLessThanOrEqual(30);
    }),
  );
});
