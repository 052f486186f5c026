import { expect, test } from "vitest";
import { seeded } from "../../src/lib/random.ts";
import { median, medianBounds } from "./repeat.ts";

test("the median's bounds hold it about 19 times of 20, also when a few values are far off", () => {
  const random = seeded(7);
  let held = 0;
  for (let i = 0; i < 400; i++) {
    const values = Array.from({ length: 25 }, () => (random.next() < 0.1 ? 50 : random.next() - 0.5));
    const [least, most] = medianBounds(values);
    expect(least).toBeLessThanOrEqual(median(values));
    expect(most).toBeGreaterThanOrEqual(median(values));
    // Of such values the true median is 0.5 / 0.9 of the way through the others.
    if (least <= 0.0556 && most >= 0.0556) held++;
  }
  expect(held / 400).toBeGreaterThan(0.9);
});

test("more values bring the bounds together, and few give none", () => {
  const random = seeded(8);
  const width = (count: number): number => {
    const [least, most] = medianBounds(Array.from({ length: count }, () => random.next()));
    return most - least;
  };
  expect(width(400)).toBeLessThan(width(25) / 2);
  expect(width(5)).toBe(Number.POSITIVE_INFINITY);
});
