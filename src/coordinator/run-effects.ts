/** What inputs lead to beside the change of a run's state, and the few ways in which they do. */
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { RecoveryInput } from "../protocol/recovery.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { StateOp } from "../protocol/state.ts";
import { apply } from "./run-records.ts";
import type { Pending, PendingCall, RunState } from "./run-state.ts";

export type RunEffect =
  | { t: "record"; record: JournalRecord }
  | { t: "enqueue"; call: PendingCall }
  /** Takes a call out of its layer, or aborts the attempt that executes. */
  | { t: "withdraw"; seq: number; reason: string }
  /** Takes a call out of its layer unless it executes: then its outcome is awaited. */
  | { t: "let-end"; seq: number }
  | { t: "arm"; seq: number; dueAt: number }
  | { t: "disarm"; seq: number }
  | { t: "start-child"; seq: number; child: RunId; coordinator: string; input: Json; detached: boolean }
  | { t: "cancel-child"; child: RunId; reason: string }
  /** Does an operation on the state store; its outcome comes back as `stated`. */
  | { t: "state"; seq: number; op: StateOp }
  /** Nobody wants the operation any more: if it has not been done, it must not be. */
  | { t: "give-up"; seq: number }
  /** Starts the `recover` of a call's function, or for `seq` 0 of the run's coordinator. */
  | { t: "start-recovery"; seq: number; recovery: RunId; input: Omit<RecoveryInput, "run"> }
  /** Starts the coordinator's code anew, from the journal. */
  | { t: "rehost" }
  /** Tells the driver, once the record is durable. `index` is the record's position in the run's journal. */
  | { t: "deliver"; record: JournalRecord; index: number }
  | { t: "suspended"; failure: Failure }
  | { t: "resumed" }
  | { t: "finished"; status: "completed" | "failed" | "cancelled"; value?: Json; failure?: Failure };

export const write = (run: RunState, record: JournalRecord, effects: RunEffect[]): void => {
  apply(run, record);
  effects.push({ t: "record", record });
};

/** Ends a command. Compensations have no command: nobody waits for them but the machine itself. */
export const resolve = (run: RunState, record: JournalRecord & { t: "done" }, effects: RunEffect[]): void => {
  write(run, record, effects);
  if (record.seq > 0) effects.push({ t: "deliver", record, index: run.next - 1 });
};

export const release = (pending: Pending, reason: string, effects: RunEffect[]): void => {
  if (pending.t === "call") {
    if (pending.recovering === undefined) effects.push({ t: "withdraw", seq: pending.seq, reason });
    else effects.push({ t: "cancel-child", child: pending.recovering.recovery, reason });
  } else if (pending.t === "child") effects.push({ t: "cancel-child", child: pending.child, reason });
  else if (pending.t === "state") effects.push({ t: "give-up", seq: pending.seq });
  else if (pending.dueAt !== undefined) effects.push({ t: "disarm", seq: pending.seq });
};

export const releaseAll = (run: RunState, reason: string, effects: RunEffect[]): void => {
  for (const pending of run.pending.values()) release(pending, reason, effects);
  if (run.recovering !== undefined) effects.push({ t: "cancel-child", child: run.recovering.recovery, reason });
};

export const suspend = (run: RunState, seq: number, attempt: number, failure: Failure, now: number, effects: RunEffect[]): void => {
  write(run, { t: "suspend", at: now, seq, attempt, failure }, effects);
  effects.push({ t: "suspended", failure });
};

/** The end of a run, whatever it still waits for. */
export const finish = (
  run: RunState,
  end: { value?: Json; failure?: Failure; cancelled?: boolean },
  now: number,
  effects: RunEffect[],
): void => {
  releaseAll(run, "its run has finished", effects);
  const { value, failure } = end;
  const status = end.cancelled ? "cancelled" : failure === undefined ? "completed" : "failed";
  const outcome = { status, ...(failure === undefined ? { value: value ?? "" } : { failure }) } as const;
  // The run's head row carries status and result, so the record itself isn't written to the journal a second time.
  apply(run, { t: "finish", at: now, ...outcome });
  effects.push({ t: "finished", ...outcome });
};
