/**
 * The run machine: what one run is waiting for, and what follows from each thing that happens to it.
 *
 * Owns: the rules of one run. Does not own: time, storage, pods, queues, or the coordinator's code (its driver); those are told by effects.
 * Its state is in run-state.ts, what records do to it in run-records.ts; what follows from failures for good in recovery-machine.ts.
 *
 *              commands                    outcome of the last attempt
 *   driver ───────────────► pending ──────────────────────────────────► done ──► deliver ──► driver
 *     ▲                      │   ▲ resume, resolve
 *     │                      ▼   │ (fresh attempts)
 *     └── cancel          recovering, suspended (dead letter)
 *
 * I1  State changes only by `apply(record)`, so that replaying the records gives the same state.
 * I2  A command has exactly one `done`: outcomes of withdrawn, finished or unknown commands and of stale attempts change nothing (P2).
 * I3  After `finish` nothing changes any more.
 * I4  Every unfinished command has what will wake it: a queued call, a recovery, a compensation, an armed timer, a child, a signal, an
 *     operation on the state store, or an operator (P3).
 */
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { hashText, seeded } from "../lib/random.ts";
import type { Decision, Resolution } from "../protocol/recovery.ts";
import type { CallCertificate, CallMetrics, Command, JournalRecord, RetryPolicy } from "../protocol/run.ts";
import type { Staleness } from "../protocol/state.ts";
import {
  advanceUndoing,
  compensate,
  finishUndone,
  recoverCall,
  recoverRun,
  resume,
  takeRecovered,
  takeResolution,
} from "./recovery-machine.ts";
import { finish, type RunEffect, release, releaseAll, resolve, suspend, write } from "./run-effects.ts";
import { callOf, hasEnded, isCoded, isKnown, isLoss, isQueued, type PendingCall, type RunState } from "./run-state.ts";

export type RunInput =
  | { t: "commands"; commands: readonly ResolvedCommand[] }
  | { t: "succeeded"; seq: number; attempt: number; value: Json; metrics?: CallMetrics; reads?: string[]; certificate?: CallCertificate }
  /** `recovery` is the id for a run of the function's `recover`; absent when it has none. */
  | {
      t: "failed";
      seq: number;
      attempt: number;
      failure: Failure;
      policy: RetryPolicy | undefined;
      metrics?: CallMetrics;
      recovery?: RunId;
      certificate?: CallCertificate;
    }
  | { t: "progress"; seq: number; attempt: number; value: Json }
  | { t: "timer"; seq: number }
  | { t: "child"; seq: number; value?: Json; failure?: Failure }
  | { t: "stated"; seq: number; value?: Json; failure?: Failure; reads?: string[] }
  | { t: "stale"; key: string; stale: Staleness }
  | { t: "recovered"; seq: number; recovery: RunId; decision?: Decision; failure?: Failure; next: RunId }
  | { t: "resolve"; resolution: Resolution; by: string }
  | { t: "signal"; name: string; value: Json }
  | { t: "cancel"; reason: string; force: boolean }
  | { t: "halt"; failure: Failure }
  | { t: "resume" };

/**
 * A command with what the service looked up for it: a call's version, a child's run id, whether a call can be compensated, an id for a
 * recovery, or why it cannot be carried out.
 */
export type ResolvedCommand = Command & { version?: string; child?: RunId; undoable?: boolean; recovery?: RunId; refusal?: Failure };

export const RETRY_DEFAULTS = { attempts: 4, initialMs: 100, factor: 2, maxMs: 30_000, jitter: 0.2 } as const;

/** Deaths of its pod that make a call a dead letter. */
export const MAX_LOSSES = 5;

/** Takes one input; appends what follows to `effects`, in order. */
export const step = (run: RunState, input: RunInput, now: number, effects: RunEffect[]): void => {
  if (run.finished !== undefined) return;
  take(run, input, now, effects);
  if (run.undoing !== undefined) advanceUndoing(run, now, effects);
};

const take = (run: RunState, input: RunInput, now: number, effects: RunEffect[]): void => {
  switch (input.t) {
    case "commands":
      for (const command of input.commands) {
        takeCommand(run, command, now, effects);
        if (run.finished !== undefined) return;
      }
      return;
    case "succeeded":
      return succeed(run, input, now, effects);
    case "failed":
      return fail(run, input, now, effects);
    case "progress":
      if (currentCall(run, input.seq, input.attempt) === undefined) return;
      return write(run, { t: "progress", seq: input.seq, attempt: input.attempt, at: now, value: input.value }, effects);
    case "timer":
      return fireTimer(run, input.seq, now, effects);
    case "stated":
      if (run.pending.get(input.seq)?.t !== "state") return;
      return resolve(run, { t: "done", seq: input.seq, at: now, ...outcome(input), ...readsOf(input) }, effects);
    case "stale":
      return tellStale(run, input.key, input.stale, now, effects);
    case "recovered":
      return takeRecovered(run, input, now, effects);
    case "resolve":
      return takeResolution(run, input.resolution, input.by, now, effects);
    case "child":
      if (run.pending.get(input.seq)?.t !== "child") return;
      return resolve(run, { t: "done", seq: input.seq, at: now, ...outcome(input) }, effects);
    case "signal":
      return takeSignal(run, input.name, input.value, now, effects);
    case "cancel":
      return cancel(run, input, now, effects);
    case "halt":
      // Code that has ended has nothing left to be halted in.
      if (hasEnded(run)) return;
      return suspend(run, 0, 0, input.failure, now, effects);
    case "resume":
      return resume(run, now, effects);
  }
};

const outcome = (from: { value?: Json; failure?: Failure }): { value: Json } | { failure: Failure } =>
  from.failure === undefined ? { value: from.value ?? "" } : { failure: from.failure };

const readsOf = ({ reads }: { reads?: string[] }): { reads?: string[] } => (reads === undefined || reads.length === 0 ? {} : { reads });

const takeCommand = (run: RunState, command: ResolvedCommand, now: number, effects: RunEffect[]): void => {
  // What is left of code that has ended goes on until it is stopped. If the run goes on, its code makes these commands again.
  if (hasEnded(run)) return;
  // A coordinator that was brought back repeats the commands which had not reached the journal; those that had are known already (I2).
  if (command.t !== "finish" && isKnown(run, command.seq)) return;
  switch (command.t) {
    case "call":
      return takeCall(run, command, now, effects);
    case "sleep": {
      const { seq, ms } = command;
      const dueAt = now + Math.max(0, ms);
      write(run, { t: "sleep", seq, at: now, ms, dueAt }, effects);
      effects.push({ t: "arm", seq, dueAt });
      return;
    }
    case "signal":
      return awaitSignal(run, command, now, effects);
    case "stepping":
      return;
    case "step":
      write(run, { t: "step", seq: command.seq, at: now, name: command.name }, effects);
      return resolve(run, { t: "done", seq: command.seq, at: now, ...outcome(command) }, effects);
    case "child":
      return startChild(run, command, now, effects);
    case "withdraw":
      return withdraw(run, command, now, effects);
    case "state":
      write(run, { t: "state", seq: command.seq, at: now, op: command.op }, effects);
      if (command.refusal !== undefined) return resolve(run, { t: "done", seq: command.seq, at: now, failure: command.refusal }, effects);
      effects.push({ t: "state", seq: command.seq, op: command.op });
      return;
    case "compensate":
      return compensate(run, command.seq, now, effects);
    case "on-stale":
      write(run, { t: "on-stale", seq: command.seq, at: now }, effects);
      return resolve(run, { t: "done", seq: command.seq, at: now, value: "" }, effects);
    case "finish":
      return end(run, command, now, effects);
  }
};

/** The driver has come to its end: that is the end of the run, unless it has failed and knows how to recover. */
const end = (run: RunState, command: ResolvedCommand & { t: "finish" }, now: number, effects: RunEffect[]): void => {
  const { failure, recovery, cancelled } = command;
  if (failure === undefined || recovery === undefined || cancelled || run.cancelled !== undefined) {
    return finishUndone(run, command, now, effects);
  }
  recoverRun(run, failure, recovery, now, effects);
};

const takeCall = (run: RunState, command: ResolvedCommand & { t: "call" }, now: number, effects: RunEffect[]): void => {
  const { seq, fn, input, options } = command;
  const refusal = command.refusal ?? (run.undoing === undefined ? undefined : compensated(command));
  const record: JournalRecord = { t: "call", seq, at: now, fn, version: command.version ?? run.version, input };
  if (options !== undefined) record.options = options;
  if (command.undoable) record.undoable = true;
  write(run, record, effects);
  if (refusal !== undefined) return resolve(run, { t: "done", seq, at: now, failure: refusal }, effects);
  effects.push({ t: "enqueue", call: run.pending.get(seq) as PendingCall });
};

const compensated = ({ fn, seq }: Command & { t: "call" }): Failure => {
  const message = "its run is being compensated, and no call begins until that is done";
  return { code: "CALL_CANCELLED", message, terminal: true, call: { function: fn, seq } };
};

const awaitSignal = (run: RunState, command: Command & { t: "signal" }, now: number, effects: RunEffect[]): void => {
  const { seq, name, timeoutMs } = command;
  const record: JournalRecord = { t: "signal", seq, at: now, name };
  if (timeoutMs !== undefined) record.dueAt = now + Math.max(0, timeoutMs);
  write(run, record, effects);
  const waiting = run.signals.get(name)?.[0];
  if (waiting !== undefined) return resolve(run, { t: "done", seq, at: now, value: waiting.value }, effects);
  if (record.dueAt !== undefined) effects.push({ t: "arm", seq, dueAt: record.dueAt });
};

const startChild = (run: RunState, command: ResolvedCommand & { t: "child" }, now: number, effects: RunEffect[]): void => {
  const { seq, coordinator, input, detached, child = "", refusal } = command;
  write(run, { t: "child", seq, at: now, coordinator, input, detached, child }, effects);
  if (refusal !== undefined) return resolve(run, { t: "done", seq, at: now, failure: refusal }, effects);
  effects.push({ t: "start-child", seq, child, coordinator, input, detached });
  // A detached child is done as soon as it is started: its id is the result.
  if (detached) resolve(run, { t: "done", seq, at: now, value: JSON.stringify(child) }, effects);
};

const withdraw = (run: RunState, command: Command & { t: "withdraw" }, now: number, effects: RunEffect[]): void => {
  write(run, { t: "withdraw", seq: command.seq, at: now, target: command.target }, effects);
  const target = run.pending.get(command.target);
  // Compensations are no commands of the coordinator's (V1).
  if (target === undefined || target.seq < 0) return;
  release(target, "the coordinator cancelled it", effects);
  const failure: Failure = { code: "CALL_CANCELLED", message: "the coordinator cancelled the call", terminal: true };
  if (target.t === "call") failure.call = { function: target.fn, seq: target.seq };
  resolve(run, { t: "done", seq: command.target, at: now, failure }, effects);
};

/** The call, if this attempt is the one that counts. */
const currentCall = (run: RunState, seq: number, attempt: number): PendingCall | undefined => {
  const call = callOf(run, seq);
  return call !== undefined && call.attempt === attempt && isQueued(call) ? call : undefined;
};

const succeed = (run: RunState, input: RunInput & { t: "succeeded" }, now: number, effects: RunEffect[]): void => {
  if (currentCall(run, input.seq, input.attempt) === undefined) return;
  const record: JournalRecord & { t: "done" } = { t: "done", seq: input.seq, at: now, attempt: input.attempt, value: input.value };
  if (input.metrics !== undefined) record.metrics = input.metrics;
  if (input.reads !== undefined && input.reads.length > 0) record.reads = input.reads;
  if (input.certificate !== undefined) record.certificate = input.certificate;
  resolve(run, record, effects);
};

const fail = (run: RunState, input: RunInput & { t: "failed" }, now: number, effects: RunEffect[]): void => {
  const call = currentCall(run, input.seq, input.attempt);
  if (call === undefined) return;
  const policy = { ...input.policy, ...call.options?.retry };
  const failure: Failure = { ...input.failure, call: { function: call.fn, seq: call.seq }, attempts: call.attempt };
  const made = call.attempt - call.firstAttempt + 1;
  const isTerminal = failure.terminal === true || isNonRetryable(failure, policy);
  if (!isTerminal && !isExhausted(call, failure, made, policy) && !isCompensated(run, call)) {
    const pause = isLoss(failure) ? lossPause(call.losses) : backoffMs(run.id, call.seq, made, policy);
    const record = { t: "attempt", seq: call.seq, attempt: call.attempt, at: now, failure, retryAt: now + pause } as const;
    write(run, input.metrics === undefined ? record : { ...record, metrics: input.metrics }, effects);
    effects.push({ t: "enqueue", call });
    return;
  }
  failForGood(run, call, isTerminal ? { ...failure, terminal: true } : failure, policy, input, now, effects);
};

/** No attempt is left, or the monitor says that none can succeed. */
const isExhausted = (call: PendingCall, failure: Failure, made: number, policy: RetryPolicy): boolean => {
  if (isLoss(failure)) return call.losses + 1 >= MAX_LOSSES;
  return made >= (policy.attempts ?? RETRY_DEFAULTS.attempts) || failure.verdict?.retryable === false;
};

/** Its run is being compensated, and nothing that is to be undone is tried again. */
const isCompensated = (run: RunState, call: PendingCall): boolean => run.undoing !== undefined && call.seq > 0;

const failForGood = (
  run: RunState,
  call: PendingCall,
  failure: Failure,
  policy: RetryPolicy,
  input: RunInput & { t: "failed" },
  now: number,
  effects: RunEffect[],
): void => {
  const { metrics, recovery } = input;
  const mayFail = call.seq > 0 && (failure.terminal === true || policy.onExhausted === "fail");
  if (isCompensated(run, call)) return refuse(run, call, failure, input, now, effects);
  if (recovery !== undefined && call.seq > 0) return recoverCall(run, call, failure, recovery, now, effects);
  if (mayFail) return refuse(run, call, failure, input, now, effects);
  const record: JournalRecord = { t: "suspend", at: now, seq: call.seq, attempt: call.attempt, failure };
  write(run, metrics === undefined ? record : { ...record, metrics }, effects);
  effects.push({ t: "suspended", failure });
};

const refuse = (
  run: RunState,
  call: PendingCall,
  failure: Failure,
  { metrics, certificate }: RunInput & { t: "failed" },
  now: number,
  effects: RunEffect[],
): void => {
  const record: JournalRecord & { t: "done" } = { t: "done", seq: call.seq, at: now, attempt: call.attempt, failure };
  if (metrics !== undefined) record.metrics = metrics;
  if (certificate !== undefined) record.certificate = certificate;
  resolve(run, record, effects);
};

// A policy comes from user code by way of its pod: it may be anything.
const isNonRetryable = (failure: Failure, { nonRetryable }: RetryPolicy): boolean => {
  const names = [failure.code, failure.name, failure.cause?.code, failure.cause?.name];
  return Array.isArray(nonRetryable) && nonRetryable.some((name) => names.includes(name));
};

// The first two deaths are most often the pod's own bad luck; from the third on the call is a suspect and slows down.
const lossPause = (losses: number): number => (losses < 2 ? 0 : 100 * 2 ** (losses - 2));

/** Exponential backoff with jitter drawn from a sequence that belongs to the call, so that it needs no source of chance. */
export const backoffMs = (run: RunId, seq: number, made: number, policy: RetryPolicy): number => {
  const { initialMs, factor, maxMs, jitter } = { ...RETRY_DEFAULTS, ...policy.backoff };
  // A factor's power may be infinite, and no pause times infinity would be no number.
  const full = initialMs === 0 ? 0 : Math.min(maxMs, initialMs * factor ** (made - 1));
  return Math.round(full * Math.max(0, 1 - jitter * seeded(hashText(`${run}/${seq}/${made}`)).next()));
};

const fireTimer = (run: RunState, seq: number, now: number, effects: RunEffect[]): void => {
  const pending = run.pending.get(seq);
  if ((pending?.t !== "sleep" && pending?.t !== "signal") || pending.dueAt === undefined) return;
  // The wall clock may have stepped back since the timer fired, and nothing else would wake this command (I4).
  if (pending.dueAt > now) return void effects.push({ t: "arm", seq, dueAt: pending.dueAt });
  if (pending.t === "sleep") return resolve(run, { t: "done", seq, at: now, value: "" }, effects);
  const failure: Failure = { code: "SIGNAL_TIMEOUT", message: `signal "${pending.name}" did not arrive in time` };
  resolve(run, { t: "done", seq, at: now, failure }, effects);
};

const takeSignal = (run: RunState, name: string, value: Json, now: number, effects: RunEffect[]): void => {
  write(run, { t: "signalled", name, at: now, value }, effects);
  for (const pending of run.pending.values()) {
    if (pending.t !== "signal" || pending.name !== name) continue;
    if (pending.dueAt !== undefined) effects.push({ t: "disarm", seq: pending.seq });
    const first = (run.signals.get(name) as { value: Json }[])[0] as { value: Json };
    return resolve(run, { t: "done", seq: pending.seq, at: now, value: first.value }, effects);
  }
};

/** Only runs that have read the value and asked to be told are told. */
const tellStale = (run: RunState, key: string, stale: Staleness, now: number, effects: RunEffect[]): void => {
  if (!run.watching || hasEnded(run) || !run.reads.has(key)) return;
  const record: JournalRecord = { t: "stale", at: now, key, stale };
  write(run, record, effects);
  effects.push({ t: "deliver", record, index: run.next - 1 });
};

const cancel = (run: RunState, input: RunInput & { t: "cancel" }, now: number, effects: RunEffect[]): void => {
  // Where no code runs that could clean up, the cancellation is the end.
  const immediate = input.force || !isCoded(run.kind) || run.halted !== undefined || hasEnded(run);
  // It ends by itself once it has cleaned up.
  if (run.undoing?.run !== undefined && run.dead === 0 && !input.force) return;
  if (run.cancelled !== undefined && !immediate) return;
  releaseAll(run, input.reason, effects);
  const record: JournalRecord = { t: "cancel", at: now, reason: input.reason };
  write(run, record, effects);
  if (!immediate) {
    effects.push({ t: "deliver", record, index: run.next - 1 });
    return;
  }
  finish(run, { cancelled: true, failure: { code: "RUN_CANCELLED", message: input.reason } }, now, effects);
};
