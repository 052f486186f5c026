import { expect, test } from "vitest";
import type { JournalRecord } from "../protocol/run.ts";
import { cutBefore, restartedRecord } from "./restart.ts";

const failure = { code: "FUNCTION_FAILED", message: "no" };
const call = (seq: number, fn = "pay"): JournalRecord => ({ t: "call", seq, at: seq, fn, version: "v1", input: `${seq}` });
const done = (seq: number, at = seq): JournalRecord & { t: "done" } => ({ t: "done", seq, at, value: `"${seq}"` });
const failed = (seq: number): JournalRecord => ({ t: "done", seq, at: seq, failure });
const child = (seq: number, detached = false): JournalRecord => ({
  t: "child",
  seq,
  at: seq,
  coordinator: "ship",
  input: "",
  detached,
  child: "run_00000000002",
});
const of = { run: "run_00000000001", acceptedAt: 100 };

test("what was done before the call is taken over, and what was done after it is not", () => {
  const journal = [call(1), done(1), call(2), done(2), call(3), done(3)];
  expect(cutBefore(journal, 3)).toEqual({ records: journal.slice(0, 4), from: 3, reused: 2 });
  expect(cutBefore(journal, 1)).toEqual({ records: [], from: 1, reused: 0 });
  expect(cutBefore(journal, 4)).toBeUndefined();
});

test("of calls that were made together, those before it are taken over although they ended later", () => {
  const journal = [call(1), call(2), call(3), done(3, 4), failed(2), done(1, 6)];
  expect(cutBefore(journal, 3)?.records).toEqual([call(1), call(2), done(1, 6)]);
});

test("a call without an outcome is executed on the version that the new run has", () => {
  const journal = [call(1, "pay"), call(2, "gone"), call(3)];
  const versionOf = (fn: string) => (fn === "pay" ? "v2" : undefined);
  expect(cutBefore(journal, 3, versionOf)?.records).toEqual([{ ...call(1, "pay"), version: "v2" }, call(2, "gone")]);
});

test("what becomes of attempts, recoveries and dead letters is the old run's story", () => {
  const journal: JournalRecord[] = [
    call(1),
    { t: "attempt", seq: 1, attempt: 1, at: 1, failure, retryAt: 2 },
    { t: "recover", seq: 1, attempt: 2, at: 2, failure, recovery: "run_00000000003" },
    { t: "recovered", seq: 1, at: 3, fn: "pay", decision: { t: "resume", value: "1" } },
    done(1),
    call(2),
    { t: "suspend", seq: 2, attempt: 4, at: 4, failure },
    { t: "resume", at: 5 },
    done(2),
    call(3),
  ];
  expect(cutBefore(journal, 3)?.records).toEqual([call(1), done(1), call(2), done(2)]);
});

test("a child that the old run still has, or that failed later, moves the cut before it; one that is done or lives by itself does not", () => {
  expect(cutBefore([call(1), done(1), child(2), call(3), done(3), call(4)], 4)).toEqual({
    records: [call(1), done(1)],
    from: 2,
    reused: 1,
  });
  expect(cutBefore([child(1), call(2), failed(1)], 2)).toMatchObject({ from: 1, reused: 0 });
  const kept = [child(1), done(1), child(2, true), done(2), call(3)];
  expect(cutBefore(kept, 3)).toEqual({ records: kept.slice(0, 4), from: 3, reused: 2 });
});

test("a call that was undone later moves the cut before it; one that was undone before, by the code itself, stays", () => {
  const undone: JournalRecord[] = [{ t: "undo", seq: -2, at: 9 }, done(-2, 10)];
  expect(cutBefore([call(1), done(1), call(2), done(2), call(3), failed(3), ...undone], 3)).toMatchObject({ from: 2, reused: 1 });
  const itself: JournalRecord[] = [call(1), done(1), call(2), done(2), { t: "compensate", seq: 3, at: 8 }, ...undone, done(3), call(4)];
  expect(cutBefore(itself, 4)).toEqual({ records: itself.slice(0, -1), from: 4, reused: 3 });
});

test("a failure that was made void is none", () => {
  const recovered: JournalRecord[] = [
    { t: "recover", seq: 0, attempt: 1, at: 5, failure, recovery: "run_00000000003" },
    { t: "recovered", seq: 0, at: 6, fn: "booking", decision: { t: "retry" } },
    { t: "reopen", seq: 1, at: 6, notBefore: 6 },
  ];
  expect(cutBefore([call(1), failed(1), ...recovered, done(1, 9), call(2)], 2)?.records).toEqual([call(1), done(1, 9)]);
  expect(cutBefore([call(1), failed(1), ...recovered, call(2)], 2)?.records).toEqual([call(1)]);
});

test("nothing that came after a cancellation is taken over", () => {
  const journal: JournalRecord[] = [call(1), done(1), call(2), { t: "cancel", at: 3, reason: "enough" }, call(3), done(3), call(4)];
  expect(cutBefore(journal, 4)?.records).toEqual([call(1), done(1), call(2)]);
});

test("a run that repeats a part of another has its time and its chance, also at the second remove", () => {
  const cut = cutBefore([call(1), done(1), call(2)], 2);
  const origin = { run: of.run, acceptedAt: 100 };
  expect(restartedRecord(of, call(1), cut, 500)).toEqual({ t: "restarted", at: 500, of: of.run, from: 2, origin });
  expect(restartedRecord(of, call(1), undefined, 500)).toEqual({ t: "restarted", at: 500, of: of.run });
  const first: JournalRecord = { t: "restarted", at: 5, of: "run_00000000000", from: 2, origin: { run: "run_00000000000", acceptedAt: 7 } };
  expect(restartedRecord(of, first, cut, 500)).toMatchObject({ of: of.run, origin: first.origin });
});
