/**
 * The part of the run machine that deals with what has failed for good: recoveries, their decisions, compensation, and what people decide.
 *
 *   call fails for good ──► recovering ──decision──► retry · resume · fail ──► goes on
 *            │                  │ fails 3 times            │
 *            ▼                  ▼                          ├─ compensate ─► undo the completed calls, one by one, then fail
 *      dead letter ◄────── RECOVERY_FAILED                 └─ escalate ───► dead letter ──person──► a decision
 *
 * A coordinator that has thrown goes the same way with `seq` 0; its dead letter is the halted run.
 *
 * V1  What was compensated is never compensated again, and nothing is that has not completed.
 * V2  Compensations execute one at a time, the last call to complete first, and only when no other call of the run is under way. What was
 *     begun goes to its end, unless the run is cancelled; a run that ends meanwhile waits for it.
 * V3  While a run compensates, none of its calls begins or is tried again: each that is under way ends once. After a crash it is not known
 *     which had begun: those without an outcome are executed then, and what completes is compensated with the rest.
 * V4  A recovery that fails is tried again, and then left to a person: no failure is dropped.
 */
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { Decision, Resolution } from "../protocol/recovery.ts";
import { finish, type RunEffect, release, resolve, suspend, write } from "./run-effects.ts";
import { callOf, type Ending, isQueued, type PendingCall, type RunState } from "./run-state.ts";

/** Starts of a recovery for one failure. */
export const MAX_TRIES = 3;

/** Recoveries of one call, or of one coordinator. */
export const MAX_RECOVERIES = 10;

/** A call has failed for good, and its function knows what to do then. */
export const recoverCall = (
  run: RunState,
  call: PendingCall,
  failure: Failure,
  recovery: RunId,
  now: number,
  effects: RunEffect[],
): void => {
  if (call.recoveries >= MAX_RECOVERIES) return suspend(run, call.seq, call.attempt, tooOften(failure), now, effects);
  write(run, { t: "recover", seq: call.seq, attempt: call.attempt, at: now, failure, recovery }, effects);
  effects.push(startOf(call, call.seq, failure, recovery, call.recoveries));
};

/** The coordinator has ended with a failure, and knows what to do then. */
export const recoverRun = (run: RunState, failure: Failure, recovery: RunId, now: number, effects: RunEffect[]): void => {
  write(run, { t: "recover", seq: 0, attempt: 1, at: now, failure, recovery }, effects);
  if (run.recoveries >= MAX_RECOVERIES) return suspend(run, 0, 1, tooOften(failure), now, effects);
  effects.push(startOf(undefined, 0, failure, recovery, run.recoveries));
};

const tooOften = (cause: Failure): Failure => escalation(`recovered ${MAX_RECOVERIES} times, and it still fails: ${cause.message}`, cause);

const escalation = (message: string, cause: Failure): Failure => {
  const failure: Failure = { code: "ESCALATED", message, cause };
  if (cause.call !== undefined) failure.call = cause.call;
  return failure;
};

const startOf = (call: PendingCall | undefined, seq: number, failure: Failure, recovery: RunId, recoveries: number): RunEffect => ({
  t: "start-recovery",
  seq,
  recovery,
  input: {
    failure,
    recoveries,
    ...(call === undefined ? {} : { call: { seq, function: call.fn, input: call.input, attempts: call.attempt } }),
  },
});

/** A recovery has ended: with a decision, or by failing itself; then `next` is the id of one that tries again. */
export const takeRecovered = (
  run: RunState,
  input: { seq: number; recovery: RunId; decision?: Decision; failure?: Failure; next: RunId },
  now: number,
  effects: RunEffect[],
): void => {
  const { seq, decision, next } = input;
  const call = callOf(run, seq);
  const recovering = seq === 0 ? run.recovering : call?.recovering;
  // One that was given up with its call must not decide what came after it.
  if (recovering?.recovery !== input.recovery) return;
  if (decision !== undefined) return decide(run, seq, decision, undefined, now, effects);
  const { failure, tries } = recovering;
  const attempt = call?.attempt ?? 1;
  if (tries < MAX_TRIES) {
    write(run, { t: "recover", seq, attempt, at: now, failure, recovery: next }, effects);
    effects.push(startOf(call, seq, failure, next, call?.recoveries ?? run.recoveries));
    return;
  }
  const cause = input.failure as Failure;
  const message = `the recovery of "${call?.fn ?? run.name}" failed ${tries} times: ${cause.message}`;
  suspend(run, seq, attempt, { ...escalation(message, failure), code: "RECOVERY_FAILED", details: { recovery: cause } }, now, effects);
};

/** Carries out what recovery, or a person (`by`), has decided of call `seq`, or of the run for 0. */
const decide = (run: RunState, seq: number, decision: Decision, by: string | undefined, now: number, effects: RunEffect[]): void => {
  if (seq === 0) return decideRun(run, decision, by, now, effects);
  const call = callOf(run, seq) as PendingCall;
  const failure = call.recovering?.failure ?? (call.dead as Failure);
  record(run, seq, decision, by, now, effects);
  switch (decision.t) {
    case "retry":
      effects.push({ t: "enqueue", call });
      return;
    case "resume":
      return resolve(run, { t: "done", seq, at: now, value: decision.value }, effects);
    case "fail":
      return failCall(run, call, decision.failure, now, effects);
    case "escalate":
      return suspend(run, seq, call.attempt, escalation(decision.message, failure), now, effects);
    case "compensate":
      return letOthersEnd(run, effects, now);
  }
};

const record = (run: RunState, seq: number, decision: Decision, by: string | undefined, now: number, effects: RunEffect[]): void => {
  const since = (seq === 0 ? run : callOf(run, seq))?.failedAt;
  const made = {
    t: "recovered",
    seq,
    at: now,
    fn: callOf(run, seq)?.fn ?? run.name,
    decision,
    ...(since === undefined ? {} : { since }),
    ...(by === undefined ? {} : { by }),
  } as const;
  write(run, made, effects);
};

const failCall = (run: RunState, call: PendingCall, failure: Failure, now: number, effects: RunEffect[]): void => {
  const own: Failure = { ...failure, call: { function: call.fn, seq: call.seq }, attempts: call.attempt };
  // A compensation that is given up leaves the run half undone: that is its end.
  if (call.seq < 0) {
    const message = `the compensation of call ${-call.seq} of "${call.fn}" was given up: ${failure.message}`;
    return finish(run, { failure: { code: "COMPENSATION_FAILED", message, cause: failure } }, now, effects);
  }
  resolve(run, { t: "done", seq: call.seq, at: now, attempt: call.attempt, failure: own }, effects);
};

const decideRun = (run: RunState, decision: Decision, by: string | undefined, now: number, effects: RunEffect[]): void => {
  const failure = run.ended ?? (run.halted as Failure);
  const seq = decision.t === "retry" ? reopenable(run) : undefined;
  record(run, 0, decision, by, now, effects);
  switch (decision.t) {
    case "retry":
      return seq === undefined ? cannotRetry(run, failure, now, effects) : reopen(run, seq, decision, now, effects);
    case "resume":
      return finishUndone(run, { value: decision.value }, now, effects);
    case "fail":
      return finishUndone(run, { failure: decision.failure }, now, effects);
    case "escalate":
      return suspend(run, 0, 1, escalation(decision.message, failure), now, effects);
    case "compensate":
      return letOthersEnd(run, effects, now);
  }
};

/** The call that failed the coordinator, if the coordinator has asked for nothing since. */
const reopenable = (run: RunState): number | undefined => {
  const seq = run.ended?.call?.seq;
  return seq !== undefined && run.failedLast.has(seq) && run.undoing === undefined ? seq : undefined;
};

const whyNotReopenable = (run: RunState, { call }: Failure): string => {
  if (call === undefined) return "no call failed it";
  return run.undoing === undefined ? "it went on after the call that failed it" : "what it has done is being compensated";
};

const cannotRetry = (run: RunState, failure: Failure, now: number, effects: RunEffect[]): void => {
  const why = whyNotReopenable(run, failure);
  const message = `"${run.name}" can't be tried again from its failure, as ${why}: ${failure.message}`;
  suspend(run, 0, 1, escalation(message, failure), now, effects);
};

const reopen = (run: RunState, seq: number, { afterMs = 0, input }: Decision & { t: "retry" }, now: number, effects: RunEffect[]): void => {
  write(run, { t: "reopen", seq, at: now, notBefore: now + afterMs, ...(input === undefined ? {} : { input }) }, effects);
  effects.push({ t: "enqueue", call: callOf(run, seq) as PendingCall }, { t: "rehost" });
};

// ---------------------------------------------------------------- compensation

/** A coordinator asks for the compensation of what the run has done. */
export const compensate = (run: RunState, seq: number, now: number, effects: RunEffect[]): void => {
  write(run, { t: "compensate", seq, at: now }, effects);
  letOthersEnd(run, effects, now);
  // Where nothing is to be undone it is over before the next command, which may be a call (V3).
  advanceUndoing(run, now, effects);
};

/** Ends the run, after the compensation that is under way. */
export const finishUndone = (run: RunState, { value, failure, cancelled }: Ending, now: number, effects: RunEffect[]): void => {
  const end: Ending = { ...(failure === undefined ? { value: value ?? "" } : { failure }), ...(cancelled ? { cancelled } : {}) };
  if (run.undoing === undefined) return finish(run, end, now, effects);
  write(run, { t: "ended", at: now, ...end }, effects);
};

/** From here on calls that are under way end once; those that no attempt executes end now. */
const letOthersEnd = (run: RunState, effects: RunEffect[], now: number): void => {
  for (const pending of [...run.pending.values()]) {
    if (pending.t !== "call" || pending.seq < 0 || pending.compensating !== undefined) continue;
    if (isQueued(pending)) effects.push({ t: "let-end", seq: pending.seq });
    else {
      release(pending, "its run is compensated", effects);
      failCall(run, pending, pending.dead ?? (pending.recovering?.failure as Failure), now, effects);
    }
  }
};

/** Begins the next compensation when nothing else of the run is under way, or ends when there is none left. */
export const advanceUndoing = (run: RunState, now: number, effects: RunEffect[]): void => {
  const { undoing } = run;
  if (undoing === undefined || run.finished !== undefined) return;
  for (const pending of run.pending.values()) if (pending.t === "call" && pending.compensating === undefined) return;
  const last = run.completed.at(-1);
  if (last === undefined) return endUndoing(run, now, effects);
  write(run, { t: "undo", seq: -last.seq, at: now }, effects);
  effects.push({ t: "enqueue", call: callOf(run, -last.seq) as PendingCall });
};

const endUndoing = (run: RunState, now: number, effects: RunEffect[]): void => {
  const { commands, calls, run: ending, undone } = run.undoing as NonNullable<RunState["undoing"]>;
  const value: Json = JSON.stringify(undone);
  for (const seq of [...commands]) resolve(run, { t: "done", seq, at: now, value }, effects);
  for (const seq of [...calls]) {
    const call = callOf(run, seq);
    if (call?.compensating !== undefined) failCall(run, call, call.compensating, now, effects);
  }
  if (ending !== undefined) finish(run, ending, now, effects);
};

// ---------------------------------------------------------------- people

/** Why what a person says of the run can't be; `undefined` when it can. */
export const refusalOf = (run: RunState, { call: seq }: Resolution): "CALL_NOT_FOUND" | "RUN_NOT_SUSPENDED" | undefined => {
  if (run.dead === 0 && run.halted === undefined) return "RUN_NOT_SUSPENDED";
  if (seq === undefined || (seq === 0 && run.halted !== undefined)) return undefined;
  return callOf(run, seq)?.dead === undefined ? "CALL_NOT_FOUND" : undefined;
};

/** Carries out what a person has decided of one dead letter, of all of them, or of a halted run. */
export const takeResolution = (run: RunState, resolution: Resolution, by: string, now: number, effects: RunEffect[]): void => {
  if (refusalOf(run, resolution) !== undefined) return;
  if (run.ended === undefined && isOfRun(run, resolution) && resolution.action === "retry") return resume(run, now, effects);
  const follows: RunEffect[] = [];
  answer(run, resolution, by, now, follows);
  // Before what follows: that may be the end of the run.
  if (run.dead === 0 && run.halted === undefined) effects.push({ t: "resumed" });
  effects.push(...follows);
};

/** Of a halted run each dead letter can still be decided, by its number. */
const isOfRun = ({ halted }: RunState, { call }: Resolution): boolean => halted !== undefined && (call ?? 0) === 0;

const answer = (run: RunState, resolution: Resolution, by: string, now: number, effects: RunEffect[]): void => {
  if (isOfRun(run, resolution)) return decide(run, 0, decisionOf(resolution, run.halted as Failure), by, now, effects);
  for (const pending of [...run.pending.values()]) {
    if (pending.t !== "call" || pending.dead === undefined || (resolution.call ?? pending.seq) !== pending.seq) continue;
    decide(run, pending.seq, decisionOf(resolution, pending.dead), by, now, effects);
    if (run.finished !== undefined) return;
  }
};

const decisionOf = ({ action, value, reason }: Resolution, failure: Failure): Decision => {
  if (action === "retry") return value === undefined ? { t: "retry" } : { t: "retry", input: value };
  if (action === "value") return { t: "resume", value: value ?? "" };
  return { t: "fail", failure: reason === undefined ? failure : { ...failure, message: `${reason}: ${failure.message}` } };
};

/** Gives all dead letters fresh attempts, or lets a halted run go on. */
export const resume = (run: RunState, now: number, effects: RunEffect[]): void => {
  if (run.ended !== undefined && run.halted !== undefined) return takeResolution(run, { action: "retry" }, "operator", now, effects);
  const dead = [...run.pending.values()].filter((pending) => pending.t === "call" && pending.dead !== undefined) as PendingCall[];
  write(run, { t: "resume", at: now }, effects);
  effects.push({ t: "resumed" });
  for (const call of dead) effects.push({ t: "enqueue", call });
};
