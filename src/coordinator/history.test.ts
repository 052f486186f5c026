import { expect, test } from "vitest";
import type { JournalRecord } from "../protocol/run.ts";
import { toldHistory, toldRecord } from "./history.ts";

const plain: JournalRecord = { t: "done", seq: 1, at: 1, attempt: 1, value: "1" };
const started: JournalRecord = { t: "cancel", at: 1, reason: "no" };

test("a pod is told outcomes without their certificates, and everything else as it is", () => {
  expect(toldRecord({ ...plain, certificate: "{}" })).toEqual(plain);
  expect(toldRecord({ ...plain, certificate: { proof: { id: "a", text: "b" }, position: 0 } })).toEqual(plain);
  for (const record of [plain, started]) expect(toldRecord(record)).toBe(record);
});

test("a history is told with what it is about, if that is anything", () => {
  expect(toldHistory([started, { ...plain, certificate: "{}" }], undefined)).toEqual({ history: [started, plain] });
  expect(toldHistory([], [{ ...plain, certificate: "{}" }])).toEqual({ history: [], about: [plain] });
});
