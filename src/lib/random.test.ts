import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashText, seeded } from "./random.ts";

test("the same seed gives the same sequence, and another seed another one", () => {
  const take = (seed: number): number[] => {
    const random = seeded(seed);
    return Array.from({ length: 8 }, () => random.next());
  };
  fc.assert(
    fc.property(fc.integer(), fc.integer(), (a, b) => {
      expect(take(a)).toEqual(take(a));
      if ((a | 0) !== (b | 0)) expect(take(a)).not.toEqual(take(b));
    }),
  );
});

test("the sequence of a seed is fixed: journaled runs depend on it", () => {
  const random = seeded(1);
  expect(Array.from({ length: 4 }, () => Math.floor(random.next() * 2 ** 32))).toEqual(sfc32(1, 4));
});

test("floats lie in [0, 1) and integers below their bound, spread evenly", () => {
  const random = seeded(42);
  let inside = true;
  const buckets = new Array<number>(16).fill(0);
  for (let i = 0; i < 160_000; i++) {
    const float = random.next();
    inside &&= float >= 0 && float < 1;
    const bucket = random.below(16);
    buckets[bucket] = (buckets[bucket] ?? Number.NaN) + 1;
  }
  expect(inside).toBe(true);
  // Chi-squared with 15 degrees of freedom: 37.7 is exceeded by one honest source in a thousand, and this seed is fixed.
  const chiSquared = buckets.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
  expect(chiSquared).toBeLessThan(37.7);
});

describe("the hash of a text", () => {
  // Published vectors of FNV-1a, 32 bits.
  test.each([
    ["", 0x811c9dc5],
    ["a", 0xe40c292c],
    ["foobar", 0xbf9cf968],
  ])("of %j is that of FNV-1a", (text, hash) => {
    expect(hashText(text)).toBe(hash);
  });

  test("is a whole number of 32 bits for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const hash = hashText(text);
        expect(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 32).toBe(true);
      }),
    );
  });
});

/** The generator written a second time, in exact integers, so that a slip in the bit arithmetic of the first shows. */
function sfc32(seed: number, count: number): number[] {
  const wrap = (x: bigint): bigint => BigInt.asUintN(32, x);
  let [a, b, c, counter] = [wrap(BigInt(seed)), 0x9e3779b9n, 0x243f6a88n, 1n];
  const outputs: number[] = [];
  for (let i = 0; i < 12 + count; i++) {
    const output = wrap(a + b + counter);
    counter = wrap(counter + 1n);
    a = b ^ (b >> 9n);
    b = wrap(c + (c << 3n));
    c = wrap(wrap((c << 21n) | (c >> 11n)) + output);
    if (i >= 12) outputs.push(Number(output));
  }
  return outputs;
}
