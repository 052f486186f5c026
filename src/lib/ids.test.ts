import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { firstOrdinalAt, ordinalOf, RunIds, runIdOf } from "./ids.ts";

const ordinals = fc.nat({ max: Number.MAX_SAFE_INTEGER });

test("an id and its number are two forms of the same", () => {
  fc.assert(
    fc.property(ordinals, (ordinal) => {
      expect(ordinalOf(runIdOf(ordinal))).toBe(ordinal);
    }),
  );
});

test("ids sort as text in the order of their numbers", () => {
  fc.assert(
    fc.property(ordinals, ordinals, (a, b) => {
      expect(runIdOf(a) < runIdOf(b)).toBe(a < b);
    }),
  );
});

describe("what is no run id has no number:", () => {
  test.each([
    "",
    "run_",
    "run_0000000000",
    "run_000000000000",
    "call_00000000000",
    "RUN_00000000000",
    "run_0000000000A",
    "run_0000000000i",
    "run_0000000000l",
    "run_0000000000o",
    "run_0000000000u",
    "run_0000000000é",
    "run_000000000-1",
    "run_zzzzzzzzzzz",
  ])("%j", (text) => {
    expect(ordinalOf(text)).toBeUndefined();
  });

  test("any text that is not exactly an issued form", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string({ minLength: 11, maxLength: 11 }).map((text) => `run_${text}`),
        ),
        (text) => {
          const ordinal = ordinalOf(text);
          if (ordinal !== undefined) expect(runIdOf(ordinal)).toBe(text);
        },
      ),
    );
  });
});

describe("issued ids", () => {
  const start = Date.UTC(2026, 0, 1);
  const clock = fc.integer({ min: start - 10_000, max: start + 10_000 });

  test("strictly increase, wherever the clock goes and whatever was issued before", () => {
    fc.assert(
      fc.property(fc.array(clock, { minLength: 2 }), clock, (times, before) => {
        const last = firstOrdinalAt(before);
        const ids = new RunIds(last);
        const issued = times.map((now) => ids.next(now));
        expect(issued).toEqual([...new Set(issued)].sort());
        expect(issued.every((id) => id > runIdOf(last))).toBe(true);
      }),
    );
  });

  test("are found by their time: an id issued at a time is at or after that time's first number", () => {
    fc.assert(
      fc.property(clock, (now) => {
        const ordinal = ordinalOf(new RunIds(0).next(now)) as number;
        expect(ordinal).toBeGreaterThanOrEqual(firstOrdinalAt(now));
        expect(ordinal).toBeLessThan(firstOrdinalAt(now + 1));
      }),
    );
  });

  test("borrow from the next millisecond when one is used up", () => {
    const ids = new RunIds(0);
    const issued = Array.from({ length: 10_000 }, () => ids.next(start));
    expect(new Set(issued).size).toBe(10_000);
    expect(ordinalOf(issued.at(-1) as string)).toBe(firstOrdinalAt(start) + 9_999);
  });
});

test("times before the origin have the number 0", () => {
  expect(firstOrdinalAt(0)).toBe(0);
  expect(firstOrdinalAt(Date.UTC(2025, 0, 1))).toBe(0);
  expect(firstOrdinalAt(Date.UTC(2025, 0, 1) + 1)).toBeGreaterThan(0);
});
