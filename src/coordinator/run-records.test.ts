import { expect, test } from "vitest";
import type { JournalRecord } from "../protocol/run.ts";
import { apply } from "./run-records.ts";
import { callOf, createRun, isKnown, type RunState, signalsOf } from "./run-state.ts";

const LOST = { code: "POD_LOST", message: "gone" };
const FAILED = { code: "FUNCTION_FAILED", message: "no" };

const runOf = (...records: JournalRecord[]): RunState => {
  const run = createRun({ id: "run_1", kind: "coordinator", name: "booking", version: "v1", priority: 0 });
  for (const record of records) apply(run, record);
  return run;
};
const call = (seq: number, more: object = {}): JournalRecord => ({
  t: "call",
  at: 1,
  seq,
  fn: `f${seq}`,
  version: "v1",
  input: `${seq}`,
  ...more,
});
const done = (seq: number, more: object = { value: "1" }): JournalRecord => ({ t: "done", at: 1, seq, ...more });

test("each record has its place, whatever it changes", () => {
  expect(runOf(call(1), { t: "stale", at: 1, key: "a/b", stale: {} as never }, done(1)).next).toBe(3);
});

test("commands are known that are recorded out of order, and those between them are not", () => {
  const run = runOf(call(1), call(3));
  expect([1, 2, 3].map((seq) => isKnown(run, seq))).toEqual([true, false, true]);
  apply(run, call(2));
  expect([run.known.upTo, run.known.beyond.size]).toEqual([3, 0]);
});

test("an attempt that failed uses up its number; one whose pod died uses up none of those that are granted", () => {
  const run = runOf(call(1), { t: "attempt", at: 1, seq: 1, attempt: 1, failure: FAILED, retryAt: 9 });
  expect(callOf(run, 1)).toMatchObject({ attempt: 2, firstAttempt: 1, losses: 0, notBefore: 9 });
  apply(run, { t: "attempt", at: 1, seq: 1, attempt: 2, failure: LOST, retryAt: 10 });
  expect(callOf(run, 1)).toMatchObject({ attempt: 3, firstAttempt: 2, losses: 1 });
});

test("a signal that came before it was awaited is taken by the first that awaits it", () => {
  const run = runOf({ t: "signalled", at: 1, name: "go", value: "1" }, { t: "signalled", at: 2, name: "go", value: "2" });
  expect(signalsOf(run)).toBe(2);
  apply(run, { t: "signal", at: 3, seq: 1, name: "go" });
  apply(run, done(1));
  expect([signalsOf(run), run.signals.get("go")]).toEqual([1, [{ at: 2, value: "2" }]]);
});

test("completed calls that can be compensated are remembered in the order in which they completed", () => {
  const run = runOf(call(1, { undoable: true }), call(2), call(3, { undoable: true }), done(3), done(2), done(1));
  expect(run.completed.map(({ seq }) => seq)).toEqual([3, 1]);
});

test("a compensation that a cancellation has cut off goes on with attempts that fence the earlier ones", () => {
  const run = runOf(call(1, { undoable: true }), done(1), { t: "compensate", at: 1, seq: 2 }, { t: "undo", at: 1, seq: -1 });
  apply(run, { t: "attempt", at: 1, seq: -1, attempt: 1, failure: FAILED, retryAt: 2 });
  apply(run, { t: "cancel", at: 1, reason: "enough" });
  expect([run.pending.size, run.completed[0]?.attempts]).toEqual([0, 2]);
  apply(run, { t: "undo", at: 1, seq: -1 });
  expect(callOf(run, -1)).toMatchObject({ attempt: 3, firstAttempt: 3, undo: "1" });
});

test("a resume gives dead letters fresh attempts, and other calls none", () => {
  const run = runOf(call(1), call(2), { t: "suspend", at: 1, seq: 1, attempt: 1, failure: FAILED });
  expect([run.dead, callOf(run, 1)?.dead]).toEqual([1, FAILED]);
  apply(run, { t: "resume", at: 2 });
  expect([run.dead, callOf(run, 1)?.attempt, callOf(run, 2)?.attempt]).toEqual([0, 2, 1]);
});

test("keys that were read are remembered, a thousand of them", () => {
  const run = runOf(call(1), done(1, { value: "1", reads: Array.from({ length: 1_200 }, (_, i) => `a/${i}`) }));
  expect(run.reads.size).toBe(1_000);
});
