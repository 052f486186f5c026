/** Small builders for tests of journals. */
import { rejects } from "node:assert/strict";
import type { AcceptedRun, Batch, Journal, RunChange } from "../journal/port.ts";
import type { ErrorCode } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import { firstOrdinalAt, runIdOf } from "../lib/ids.ts";
import type { JournalRecord } from "../protocol/run.ts";

/** What a case of the suite works with. */
export interface JournalBench {
  open(): Promise<Journal>;
  reopen(old: Journal): Promise<Journal>;
}

export type JournalCases = Record<string, (bench: JournalBench) => Promise<void>>;

export const START = Date.UTC(2026, 0, 1);

/** The id of the run accepted `ms` after `START`. */
export const idAt = (ms: number): RunId => runIdOf(firstOrdinalAt(START + ms));

export const batchOf = (parts: Partial<Batch>): Batch => ({
  accepted: [],
  appended: [],
  changed: [],
  events: [],
  logs: [],
  purged: [],
  ...parts,
});

/** A run accepted `ms` after `START`. */
export const runAt = (ms: number, parts: Partial<AcceptedRun> = {}): AcceptedRun => ({
  id: idAt(ms),
  kind: "coordinator",
  name: "booking",
  application: "examples",
  version: "0123456789abcdef",
  input: '{"seat":12}',
  acceptedAt: START + ms,
  priority: 0,
  ...parts,
});

/** The change that completes the run accepted `ms` after `START`, at `finishedMs` after it. */
export const finishAt = (ms: number, finishedMs: number, parts: Partial<RunChange> = {}): RunChange => ({
  id: idAt(ms),
  status: "completed",
  live: false,
  finishedAt: START + finishedMs,
  ...parts,
});

export const resultOf = (seq: number, value = '"ok"'): JournalRecord => ({ t: "done", seq, at: START + seq, attempt: 1, value });

export const rejectsWith = (code: ErrorCode, work: Promise<unknown>): Promise<void> => rejects(work, { name: "LockstepError", code });
