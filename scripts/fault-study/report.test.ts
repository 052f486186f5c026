import { expect, test } from "vitest";
import type { FaultView } from "../../src/protocol/faults.ts";
import { longestPause, observed, type Seen, tableOf, violationsOf } from "./report.ts";

const scene = { name: "a replica lies", certified: "replica-lie", plain: "corrupt" } as const;
const fault = { type: "III", detectedAt: 1_050, repairedAt: 1_900 } as FaultView;
const well: Seen = { type: "III", noticedMs: 50, repairedMs: 900, pauseMs: 20, answered: 9, wrong: 0, errors: [] };

test("the longest pause begins with the fault, and ends with the last answer", () => {
  expect(longestPause([1_300, 1_010, 1_250], 1_000)).toBe(240);
  expect(longestPause([], 1_000)).toBe(0);
});

test("times count from the fault, and answers of before are no pause", () => {
  const answers = [900, 1_010, 1_400, 1_950].map((at) => ({ at, isRight: at !== 1_400 }));
  expect(observed({ answers, errors: ["x"] }, 1_000, fault)).toEqual({
    type: "III",
    noticedMs: 50,
    repairedMs: 900,
    pauseMs: 550,
    answered: 4,
    wrong: 1,
    errors: ["x"],
  });
});

test("a wrong answer, an error, and a fault that nobody notices or mends are violations", () => {
  expect(violationsOf(scene, well)).toEqual([]);
  expect(violationsOf(scene, { ...well, wrong: 1 })).toHaveLength(1);
  expect(violationsOf(scene, { ...well, errors: ["CALL_TIMEOUT"] })[0]).toContain("CALL_TIMEOUT");
  expect(violationsOf(scene, { ...well, noticedMs: undefined, repairedMs: undefined })).toHaveLength(2);
});

test("the table has both kinds of each scene", () => {
  const plain: Seen = { ...well, type: undefined, noticedMs: undefined, repairedMs: undefined, wrong: 5 };
  const table = tableOf([{ scene, certified: well, plain }]);
  expect(table).toMatch(/certified +III +50 ms +900 ms +20 ms +0 of 9/);
  expect(table).toMatch(/plain pods +– +never +never +20 ms +5 of 9/);
});
