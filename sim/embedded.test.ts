import { describe, expect, test } from "vitest";
import { simulate } from "./embedded.ts";

const SEEDS = 200;
const GROUP = 25;

describe("random programs under random faults keep what the platform promises", () => {
  for (let first = 1; first <= SEEDS; first += GROUP) {
    test(`seeds ${first} to ${first + GROUP - 1}`, { timeout: 60_000 }, async () => {
      for (let seed = first; seed < first + GROUP; seed++) await simulate(seed);
    });
  }
});

test("a seed gives the same simulation each time", async () => {
  for (const seed of [3, 77]) expect(await simulate(seed)).toEqual(await simulate(seed));
});
