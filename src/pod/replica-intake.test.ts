import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Allowance, hasAtMost, Intake, MAX_PEER_FRAME_BYTES } from "./replica-intake.ts";

describe("what a peer may send", () => {
  test("is so much at once, and so much more with time; what exceeds it is read later", () => {
    const allowance = new Allowance(1_000, 5_000, 0);
    expect(allowance.take(5_000, 0)).toBe(0);
    expect(allowance.take(500, 0)).toBe(500);
    expect(allowance.take(0, 500)).toBe(0);
    expect(allowance.take(2_000, 1_500)).toBe(1_000);
    expect(allowance.take(0, 100_000)).toBe(0);
    expect(allowance.take(5_001, 100_000)).toBe(1);
  });
});

describe("what a peer may cost", () => {
  test("is the bytes of two frames at once, and those of one each second", () => {
    const intake = new Intake(1, 0);
    expect(intake.take(2 * MAX_PEER_FRAME_BYTES, 0, 0)).toBe(0);
    expect(intake.take(MAX_PEER_FRAME_BYTES, 0, 0)).toBe(1_000);
    expect(intake.take(0, 0, 1_000)).toBe(0);
  });

  test("is time that leaves the others a quarter, however many of its peers may be faulty", () => {
    for (const faults of [1, 2, 5]) {
      const seconds = 100;
      let [now, spent] = [0, 0];
      const intake = new Intake(faults, now);
      while (now < seconds * 1_000) {
        now += 10;
        spent += 10;
        now += intake.take(100, 10, now);
      }
      expect((spent * faults) / now).toBeLessThan(0.77);
      expect((spent * faults) / now).toBeGreaterThan(0.7);
    }
  });
});

const countOf = (value: unknown): number =>
  typeof value !== "object" || value === null ? 1 : 1 + Object.values(value).reduce((sum: number, each) => sum + countOf(each), 0);

describe("the values of a JSON text", () => {
  const bytes = (text: string): Buffer => Buffer.from(text);

  test("are counted outside of texts only", () => {
    expect(hasAtMost(2, bytes('["[[[[,,,,{{{"]'))).toBe(true);
    expect(hasAtMost(2, bytes(JSON.stringify(['\\",[{\\\\'])))).toBe(true);
    expect(hasAtMost(100, bytes(JSON.stringify(Array.from({ length: 200 }, () => []))))).toBe(false);
    expect(hasAtMost(2, bytes('["no end, no end, no end'))).toBe(true);
  });

  test("are never more than counted", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const count = countOf(JSON.parse(json));
        if (count > 1) expect(hasAtMost(Math.floor((count - 1) / 2), bytes(json))).toBe(false);
      }),
    );
  });
});
