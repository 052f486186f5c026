import { expect, test } from "vitest";
import type { Case } from "./cases.ts";
import { CASES } from "./cases.ts";
import { differencesOf, median } from "./report.ts";
import type { Observation } from "./study.ts";

const study = CASES.find(({ name }) => name === "storage-unreachable") as Case;

const asDeclared: Observation = {
  id: "storage-unreachable-1",
  verdict: "storage-unavailable",
  evidence: "ECONNREFUSED",
  verdictMs: 1,
  decisionMs: 2,
  recoveredMs: 3,
  decision: "retry",
  by: undefined,
  run: "completed",
  state: "paid",
  isStale: false,
  paid: true,
  reader: "refused: STATE_STALE",
};

test("a case that is as declared has no differences", () => {
  expect(differencesOf(study, asDeclared)).toEqual([]);
});

test.each([
  [{ verdict: "execution" }, "the verdict is execution, declared storage-unavailable"],
  [{ decision: "fail" }, "the decision is fail, declared retry"],
  [{ run: "failed" }, "the run is failed, declared completed"],
  [{ state: "confirmed" }, "the state is confirmed, declared paid"],
  [{ isStale: true }, "the state's staleness is true, declared false"],
  [{ paid: false }, "the ledger's entry is false, declared true"],
  [
    { reader: 'took "confirmed" for the truth' },
    'what the reader was told is took "confirmed" for the truth, declared refused: STATE_STALE',
  ],
])("%o is told", (change, difference) => {
  expect(differencesOf(study, { ...asDeclared, ...change })).toEqual([`storage-unreachable-1: ${difference}`]);
});

test("a median is in the middle", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});
