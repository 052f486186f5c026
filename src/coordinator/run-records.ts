/**
 * How the records of a run's journal change its state: the only way in which it changes, so that a replay of its journal gives the same.
 *
 * Owns: the meaning of each record for the state. Does not own: which records are made (machine.ts, recovery-machine.ts), the form of the
 * state (run-state.ts).
 */
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import type { CallOptions, JournalRecord } from "../protocol/run.ts";
import { type Completed, callOf, type Ending, isCoded, isLoss, type PendingCall, type RunState, type Undoing } from "./run-state.ts";

/** State keys that are remembered as read. */
const MAX_READS = 1_000;

/** Changes the state by one record. */
export const apply = (run: RunState, record: JournalRecord): void => {
  run.next++;
  switch (record.t) {
    case "call":
      noteCommand(run, record.seq);
      run.pending.set(record.seq, createCall(record));
      return;
    case "sleep":
      noteCommand(run, record.seq);
      run.pending.set(record.seq, { t: "sleep", seq: record.seq, dueAt: record.dueAt });
      return;
    case "signal":
      noteCommand(run, record.seq);
      run.pending.set(record.seq, { t: "signal", seq: record.seq, name: record.name, dueAt: record.dueAt });
      return;
    case "child":
      noteCommand(run, record.seq);
      run.pending.set(record.seq, { t: "child", seq: record.seq, coordinator: record.coordinator, child: record.child });
      return;
    case "state":
      noteCommand(run, record.seq);
      run.pending.set(record.seq, { t: "state", seq: record.seq, op: record.op });
      return;
    case "step":
    case "withdraw":
      return noteCommand(run, record.seq);
    case "on-stale":
      noteCommand(run, record.seq);
      run.watching = true;
      return;
    case "compensate":
      noteCommand(run, record.seq);
      beginUndoing(run).commands.add(record.seq);
      return;
    case "undo":
      return applyUndo(run, record.seq);
    case "attempt":
      return applyAttempt(run, record);
    case "progress":
      return applyProgress(run, record);
    case "done":
      return applyDone(run, record);
    case "recover":
      return applyRecover(run, record);
    case "recovered":
      return applyRecovered(run, record);
    case "reopen":
      return applyReopen(run, record);
    case "ended":
      beginUndoing(run).run = endingOf(record);
      return;
    case "signalled":
      buffer(run, record.name).push({ at: record.at, value: record.value });
      return;
    case "stale":
    case "restarted":
      return;
    case "cancel":
      run.cancelled = record.reason;
      clear(run);
      return;
    case "suspend":
      return applySuspend(run, record);
    case "resume":
      return applyResume(run);
    case "finish":
      run.finished = record.status;
      clear(run);
      return;
  }
};

const clear = (run: RunState): void => {
  if (run.undoing !== undefined) run.completed = run.completed.map((completed) => cutOff(run, completed));
  run.pending.clear();
  run.dead = 0;
  run.undoing = undefined;
  run.recovering = undefined;
};

const cutOff = (run: RunState, completed: Completed): Completed => {
  const call = callOf(run, -completed.seq);
  return call === undefined ? completed : { ...completed, attempts: call.attempt };
};

const createCall = (of: {
  seq: number;
  fn: string;
  version: string;
  input: Json;
  options?: CallOptions | undefined;
  undoable?: boolean;
  undo?: Json;
  attempts?: number;
}): PendingCall => ({
  t: "call",
  seq: of.seq,
  fn: of.fn,
  version: of.version,
  input: of.input,
  options: of.options,
  attempt: (of.attempts ?? 0) + 1,
  firstAttempt: (of.attempts ?? 0) + 1,
  losses: 0,
  notBefore: 0,
  dead: undefined,
  failedAt: undefined,
  undoable: of.undoable === true,
  undo: of.undo,
  progress: undefined,
  recovering: undefined,
  recoveries: 0,
  compensating: undefined,
});

const noteCommand = (run: RunState, seq: number): void => {
  const { known, failedLast } = run;
  known.beyond.add(seq);
  while (known.beyond.delete(known.upTo + 1)) known.upTo++;
  if (failedLast.size > 0) failedLast.clear();
};

const buffer = (run: RunState, name: string): { at: number; value: Json }[] => getOrMake(run.signals, name, () => []);

const applyAttempt = (run: RunState, record: JournalRecord & { t: "attempt" }): void => {
  const call = callOf(run, record.seq);
  if (call === undefined) return;
  call.attempt = record.attempt + 1;
  call.notBefore = record.retryAt;
  if (isLoss(record.failure)) {
    call.losses++;
    // A death is no verdict on the function: it doesn't use up the attempts that its definition grants.
    call.firstAttempt++;
  }
};

const applyProgress = (run: RunState, record: JournalRecord & { t: "progress" }): void => {
  const call = callOf(run, record.seq);
  if (call !== undefined) call.progress = record.value;
};

const applyDone = (run: RunState, record: JournalRecord & { t: "done" }): void => {
  for (const key of record.reads ?? []) if (run.reads.size < MAX_READS) run.reads.add(key);
  const pending = run.pending.get(record.seq);
  if (pending === undefined) {
    run.undoing?.commands.delete(record.seq);
    return settleUndoing(run);
  }
  run.pending.delete(record.seq);
  if (pending.t === "call") return applyCallDone(run, pending, record);
  if (pending.t !== "signal" || record.value === undefined) return;
  const signals = run.signals.get(pending.name);
  signals?.shift();
  if (signals?.length === 0) run.signals.delete(pending.name);
};

const applyCallDone = (run: RunState, call: PendingCall, { value }: JournalRecord & { t: "done" }): void => {
  if (call.dead !== undefined) run.dead--;
  run.undoing?.calls.delete(call.seq);
  if (call.seq < 0) {
    run.completed = run.completed.filter(({ seq }) => seq !== -call.seq);
    run.undoing?.undone.push({ seq: -call.seq, function: call.fn });
  } else if (value === undefined) {
    if (isCoded(run.kind)) run.failedLast.set(call.seq, call);
  } else if (call.undoable) {
    const { seq, fn, version, input, options } = call;
    run.completed.push({ seq, fn, version, input, output: value, options, attempts: 0 });
  }
  settleUndoing(run);
};

const endingOf = ({ value, failure, cancelled }: JournalRecord & { t: "ended" }): Ending => ({
  ...(failure === undefined ? { value: value ?? "" } : { failure }),
  ...(cancelled ? { cancelled } : {}),
});

/** A compensation has ended when nobody waits for it and nothing is left: what was begun is not left half done. */
const settleUndoing = (run: RunState): void => {
  const { undoing, completed } = run;
  if (undoing === undefined || undoing.run !== undefined || undoing.commands.size + undoing.calls.size + completed.length > 0) return;
  run.undoing = undefined;
};

const applyUndo = (run: RunState, seq: number): void => {
  const done = run.completed.find((completed) => completed.seq === -seq);
  if (done === undefined) return;
  const { fn, version, input, output, options, attempts } = done;
  run.pending.set(seq, createCall({ seq, fn, version, input, options, undo: output, attempts }));
};

const beginUndoing = (run: RunState): Undoing => {
  run.undoing ??= { commands: new Set(), calls: new Set(), run: undefined, undone: [] };
  return run.undoing;
};

const applyRecover = (run: RunState, { seq, failure, recovery, at }: JournalRecord & { t: "recover" }): void => {
  const call = callOf(run, seq);
  const before = seq === 0 ? run.recovering : call?.recovering;
  const recovering = { recovery, failure, tries: (before?.tries ?? 0) + 1 };
  if (call !== undefined) {
    call.recovering = recovering;
    call.failedAt ??= at;
  }
  if (seq !== 0) return;
  run.failedAt ??= at;
  run.ended = failure;
  // Whatever halted the code, it has come to its end.
  run.halted = undefined;
  run.recovering = recovering;
};

const applyRecovered = (run: RunState, { seq, at, decision }: JournalRecord & { t: "recovered" }): void => {
  if (seq === 0) return applyRunRecovered(run, decision.t === "compensate");
  const call = callOf(run, seq);
  if (call === undefined) return;
  const failure = call.recovering?.failure ?? call.dead;
  if (call.dead !== undefined) run.dead--;
  call.dead = undefined;
  call.recovering = undefined;
  call.recoveries++;
  if (decision.t === "retry") renew(call, at + (decision.afterMs ?? 0), decision.input);
  if (decision.t !== "compensate") return;
  call.compensating = failure;
  beginUndoing(run).calls.add(seq);
};

const applyRunRecovered = (run: RunState, isCompensated: boolean): void => {
  run.recovering = undefined;
  run.halted = undefined;
  run.recoveries++;
  if (isCompensated) beginUndoing(run).run = { failure: run.ended as Failure };
};

/** Gives a call a fresh set of attempts. */
const renew = (call: PendingCall, notBefore: number, input: Json | undefined): void => {
  call.attempt++;
  call.firstAttempt = call.attempt;
  call.failedAt = undefined;
  call.losses = 0;
  call.notBefore = notBefore;
  if (input === undefined) return;
  call.input = input;
  // How far it had come with the other one means nothing.
  call.progress = undefined;
};

const applyReopen = (run: RunState, record: JournalRecord & { t: "reopen" }): void => {
  const call = run.failedLast.get(record.seq);
  if (call === undefined) return;
  run.failedLast.delete(record.seq);
  run.ended = undefined;
  run.failedAt = undefined;
  call.dead = undefined;
  call.recovering = undefined;
  call.compensating = undefined;
  renew(call, record.notBefore, record.input);
  run.pending.set(record.seq, call);
};

const applySuspend = (run: RunState, record: JournalRecord & { t: "suspend" }): void => {
  if (record.seq === 0) {
    run.halted = record.failure;
    run.failedAt ??= record.at;
    run.recovering = undefined;
    return;
  }
  const call = callOf(run, record.seq);
  if (call === undefined) return;
  if (call.dead === undefined) run.dead++;
  call.dead = record.failure;
  call.failedAt ??= record.at;
  call.recovering = undefined;
};

const applyResume = (run: RunState): void => {
  run.halted = undefined;
  run.failedAt = undefined;
  run.dead = 0;
  for (const call of run.pending.values()) {
    if (call.t !== "call" || call.dead === undefined) continue;
    call.dead = undefined;
    renew(call, 0, undefined);
  }
};
