/**
 * The run machine: what one run is waiting for, and what follows from each thing that happens to it.
 *
 * Owns: the state of one run. Does not own: time, storage, pods, queues, or the coordinator's code (its driver); those are told by effects.
 *
 *              commands                    outcome of the last attempt
 *   driver ───────────────► pending ──────────────────────────────────► done ──► deliver ──► driver
 *     ▲                      │   ▲ resume
 *     │                      ▼   │ (fresh attempts)
 *     └── cancel          suspended (dead letter)
 *
 * I1  State changes only by `apply(record)`, so that replaying the records gives the same state.
 * I2  A command has exactly one `done`: outcomes of withdrawn, finished or unknown commands and of stale attempts change nothing (P2).
 * I3  After `finish` nothing changes any more.
 * I4  Every unfinished command has what will wake it: a queued call, an armed timer, a child, a signal, or an operator (P3).
 */
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import { hashText, seeded } from "../lib/random.ts";
import type { CallMetrics, CallOptions, Command, JournalRecord, RetryPolicy, RunKind, RunStatus } from "../protocol/run.ts";

export interface PendingCall {
  t: "call";
  seq: number;
  fn: string;
  version: string;
  input: Json;
  options: CallOptions | undefined;
  /** Number of the attempt that is queued or executing: it fences older ones. */
  attempt: number;
  /** The attempt from which the budget counts: 1, or the first after a resume. */
  firstAttempt: number;
  /** Attempts that ended with the death of their pod; they have a budget of their own. */
  losses: number;
  /** Not to be dispatched before (Unix ms). */
  notBefore: number;
  dead: Failure | undefined;
}
export type Pending =
  | PendingCall
  | { t: "sleep"; seq: number; dueAt: number }
  | { t: "signal"; seq: number; name: string; dueAt: number | undefined }
  | { t: "child"; seq: number; coordinator: string; child: RunId };

export interface RunState {
  readonly id: RunId;
  readonly kind: RunKind;
  readonly name: string;
  readonly version: string;
  readonly priority: number;
  /** Index of the next record. */
  next: number;
  readonly pending: Map<number, Pending>;
  readonly signals: Map<string, { at: number; value: Json }[]>;
  /** Which commands are recorded: all up to `upTo`, and those in `beyond`, as a step that takes its time is recorded after later ones. */
  readonly known: { upTo: number; readonly beyond: Set<number> };
  cancelled: string | undefined;
  dead: number;
  /** A run that cannot go on (divergence, a coordinator that kills its pod) for another reason than a dead letter. */
  halted: Failure | undefined;
  finished: "completed" | "failed" | "cancelled" | undefined;
}

export type RunInput =
  | { t: "commands"; commands: readonly ResolvedCommand[] }
  | { t: "succeeded"; seq: number; attempt: number; value: Json; metrics?: CallMetrics }
  | { t: "failed"; seq: number; attempt: number; failure: Failure; policy: RetryPolicy | undefined; metrics?: CallMetrics }
  | { t: "timer"; seq: number }
  | { t: "child"; seq: number; value?: Json; failure?: Failure }
  | { t: "signal"; name: string; value: Json }
  | { t: "cancel"; reason: string; force: boolean }
  | { t: "halt"; failure: Failure }
  | { t: "resume" };

/** A command with what the service looked up for it: a call's version, a child's run id, or why it cannot be carried out. */
export type ResolvedCommand = Command & { version?: string; child?: RunId; refusal?: Failure };

export type RunEffect =
  | { t: "record"; record: JournalRecord }
  | { t: "enqueue"; call: PendingCall }
  /** Takes a call out of its layer, or aborts the attempt that executes. */
  | { t: "withdraw"; seq: number; reason: string }
  | { t: "arm"; seq: number; dueAt: number }
  | { t: "disarm"; seq: number }
  | { t: "start-child"; seq: number; child: RunId; coordinator: string; input: Json; detached: boolean }
  | { t: "cancel-child"; child: RunId; reason: string }
  /** Tells the driver, once the record is durable. `index` is the record's position in the run's journal. */
  | { t: "deliver"; record: JournalRecord; index: number }
  | { t: "suspended"; failure: Failure }
  | { t: "resumed" }
  | { t: "finished"; status: "completed" | "failed" | "cancelled"; value?: Json; failure?: Failure };

export const RETRY_DEFAULTS = { attempts: 4, initialMs: 100, factor: 2, maxMs: 30_000, jitter: 0.2 } as const;

/** Deaths of its pod that make a call a dead letter. */
export const MAX_LOSSES = 5;

export const createRun = (head: { id: RunId; kind: RunKind; name: string; version: string; priority: number }): RunState => ({
  id: head.id,
  kind: head.kind,
  name: head.name,
  version: head.version,
  priority: head.priority,
  next: 0,
  pending: new Map(),
  signals: new Map(),
  known: { upTo: 0, beyond: new Set() },
  cancelled: undefined,
  dead: 0,
  halted: undefined,
  finished: undefined,
});

/** Changes the state by one record: the only way in which it changes (I1). */
export const apply = (run: RunState, record: JournalRecord): void => {
  run.next++;
  switch (record.t) {
    case "call":
      note(run, record.seq);
      run.pending.set(record.seq, {
        t: "call",
        seq: record.seq,
        fn: record.fn,
        version: record.version,
        input: record.input,
        options: record.options,
        attempt: 1,
        firstAttempt: 1,
        losses: 0,
        notBefore: 0,
        dead: undefined,
      });
      return;
    case "sleep":
      note(run, record.seq);
      run.pending.set(record.seq, { t: "sleep", seq: record.seq, dueAt: record.dueAt });
      return;
    case "signal":
      note(run, record.seq);
      run.pending.set(record.seq, { t: "signal", seq: record.seq, name: record.name, dueAt: record.dueAt });
      return;
    case "child":
      note(run, record.seq);
      run.pending.set(record.seq, { t: "child", seq: record.seq, coordinator: record.coordinator, child: record.child });
      return;
    case "step":
    case "withdraw":
      note(run, record.seq);
      return;
    case "attempt":
      return applyAttempt(run, record);
    case "done":
      return applyDone(run, record);
    case "signalled":
      buffer(run, record.name).push({ at: record.at, value: record.value });
      return;
    case "cancel":
      run.cancelled = record.reason;
      run.pending.clear();
      run.dead = 0;
      return;
    case "suspend":
      return applySuspend(run, record);
    case "resume":
      return applyResume(run);
    case "finish":
      run.finished = record.status;
      run.pending.clear();
      run.dead = 0;
      return;
  }
};

const note = ({ known }: RunState, seq: number): void => {
  known.beyond.add(seq);
  while (known.beyond.delete(known.upTo + 1)) known.upTo++;
};

const isKnown = ({ known }: RunState, seq: number): boolean => seq <= known.upTo || known.beyond.has(seq);

const buffer = (run: RunState, name: string): { at: number; value: Json }[] => getOrMake(run.signals, name, () => []);

const applyAttempt = (run: RunState, record: JournalRecord & { t: "attempt" }): void => {
  const call = run.pending.get(record.seq);
  if (call?.t !== "call") return;
  call.attempt = record.attempt + 1;
  call.notBefore = record.retryAt;
  if (record.failure.code === "POD_LOST" || record.failure.code === "OUT_OF_MEMORY") {
    call.losses++;
    // A death is no verdict on the function: it doesn't use up the attempts that its definition grants.
    call.firstAttempt++;
  }
};

const applyDone = (run: RunState, record: JournalRecord & { t: "done" }): void => {
  const pending = run.pending.get(record.seq);
  if (pending === undefined) return;
  run.pending.delete(record.seq);
  if (pending.t === "call" && pending.dead !== undefined) run.dead--;
  if (pending.t !== "signal" || record.value === undefined) return;
  const signals = run.signals.get(pending.name);
  signals?.shift();
  if (signals?.length === 0) run.signals.delete(pending.name);
};

const applySuspend = (run: RunState, record: JournalRecord & { t: "suspend" }): void => {
  if (record.seq === 0) {
    run.halted = record.failure;
    return;
  }
  const call = run.pending.get(record.seq);
  if (call?.t !== "call") return;
  if (call.dead === undefined) run.dead++;
  call.dead = record.failure;
};

const applyResume = (run: RunState): void => {
  run.halted = undefined;
  run.dead = 0;
  for (const call of run.pending.values()) {
    if (call.t !== "call" || call.dead === undefined) continue;
    call.dead = undefined;
    call.attempt++;
    call.firstAttempt = call.attempt;
    call.losses = 0;
    call.notBefore = 0;
  }
};

/** Takes one input; appends what follows to `effects`, in order. */
export const step = (run: RunState, input: RunInput, now: number, effects: RunEffect[]): void => {
  if (run.finished !== undefined) return;
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
    case "timer":
      return fireTimer(run, input.seq, now, effects);
    case "child":
      if (run.pending.get(input.seq)?.t !== "child") return;
      return resolve(run, { t: "done", seq: input.seq, at: now, ...outcome(input) }, effects);
    case "signal":
      return takeSignal(run, input.name, input.value, now, effects);
    case "cancel":
      return cancel(run, input, now, effects);
    case "halt":
      write(run, { t: "suspend", at: now, seq: 0, attempt: 0, failure: input.failure }, effects);
      effects.push({ t: "suspended", failure: input.failure });
      return;
    case "resume":
      return resume(run, now, effects);
  }
};

const write = (run: RunState, record: JournalRecord, effects: RunEffect[]): void => {
  apply(run, record);
  effects.push({ t: "record", record });
};

const resolve = (run: RunState, record: JournalRecord & { t: "done" }, effects: RunEffect[]): void => {
  write(run, record, effects);
  effects.push({ t: "deliver", record, index: run.next - 1 });
};

const outcome = (from: { value?: Json; failure?: Failure }): { value: Json } | { failure: Failure } =>
  from.failure === undefined ? { value: from.value ?? "" } : { failure: from.failure };

const takeCommand = (run: RunState, command: ResolvedCommand, now: number, effects: RunEffect[]): void => {
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
    case "finish":
      return finish(run, command, now, effects);
  }
};

const takeCall = (run: RunState, command: ResolvedCommand & { t: "call" }, now: number, effects: RunEffect[]): void => {
  const { seq, fn, input, options, refusal } = command;
  const record: JournalRecord = { t: "call", seq, at: now, fn, version: command.version ?? run.version, input };
  if (options !== undefined) record.options = options;
  write(run, record, effects);
  if (refusal !== undefined) return resolve(run, { t: "done", seq, at: now, failure: refusal }, effects);
  effects.push({ t: "enqueue", call: run.pending.get(seq) as PendingCall });
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
  if (target === undefined) return;
  release(target, "the coordinator cancelled it", effects);
  const failure: Failure = { code: "CALL_CANCELLED", message: "the coordinator cancelled the call", terminal: true };
  if (target.t === "call") failure.call = { function: target.fn, seq: target.seq };
  resolve(run, { t: "done", seq: command.target, at: now, failure }, effects);
};

const release = (pending: Pending, reason: string, effects: RunEffect[]): void => {
  if (pending.t === "call") effects.push({ t: "withdraw", seq: pending.seq, reason });
  else if (pending.t === "child") effects.push({ t: "cancel-child", child: pending.child, reason });
  else if (pending.dueAt !== undefined) effects.push({ t: "disarm", seq: pending.seq });
};

const finish = (run: RunState, command: Command & { t: "finish" }, now: number, effects: RunEffect[]): void => {
  for (const pending of run.pending.values()) release(pending, "its run has finished", effects);
  const { value, failure } = command;
  const status = command.cancelled ? "cancelled" : failure === undefined ? "completed" : "failed";
  const end = { status, ...(failure === undefined ? { value: value ?? "" } : { failure }) } as const;
  // The run's head row carries status and result, so the record itself isn't written to the journal a second time.
  apply(run, { t: "finish", at: now, ...end });
  effects.push({ t: "finished", ...end });
};

const callOf = (run: RunState, seq: number, attempt: number): PendingCall | undefined => {
  const call = run.pending.get(seq);
  return call?.t === "call" && call.attempt === attempt && call.dead === undefined ? call : undefined;
};

const succeed = (run: RunState, input: RunInput & { t: "succeeded" }, now: number, effects: RunEffect[]): void => {
  if (callOf(run, input.seq, input.attempt) === undefined) return;
  const record: JournalRecord & { t: "done" } = { t: "done", seq: input.seq, at: now, attempt: input.attempt, value: input.value };
  if (input.metrics !== undefined) record.metrics = input.metrics;
  resolve(run, record, effects);
};

const fail = (run: RunState, input: RunInput & { t: "failed" }, now: number, effects: RunEffect[]): void => {
  const call = callOf(run, input.seq, input.attempt);
  if (call === undefined) return;
  const policy = { ...input.policy, ...call.options?.retry };
  const failure: Failure = { ...input.failure, call: { function: call.fn, seq: call.seq }, attempts: call.attempt };
  const lost = failure.code === "POD_LOST" || failure.code === "OUT_OF_MEMORY";
  if (failure.terminal || isNonRetryable(failure, policy))
    return refuse(run, call, { ...failure, terminal: true }, input.metrics, now, effects);
  const made = call.attempt - call.firstAttempt + 1;
  const exhausted = lost ? call.losses + 1 >= MAX_LOSSES : made >= (policy.attempts ?? RETRY_DEFAULTS.attempts);
  if (exhausted && policy.onExhausted === "fail") return refuse(run, call, failure, input.metrics, now, effects);
  if (exhausted) {
    write(run, { t: "suspend", at: now, seq: call.seq, attempt: call.attempt, failure }, effects);
    effects.push({ t: "suspended", failure });
    return;
  }
  const pause = lost ? lossPause(call.losses) : backoffMs(run.id, call.seq, made, policy);
  write(run, { t: "attempt", seq: call.seq, attempt: call.attempt, at: now, failure, retryAt: now + pause }, effects);
  effects.push({ t: "enqueue", call });
};

const refuse = (
  run: RunState,
  call: PendingCall,
  failure: Failure,
  metrics: CallMetrics | undefined,
  now: number,
  effects: RunEffect[],
): void => {
  const record: JournalRecord & { t: "done" } = { t: "done", seq: call.seq, at: now, attempt: call.attempt, failure };
  if (metrics !== undefined) record.metrics = metrics;
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

const cancel = (run: RunState, input: RunInput & { t: "cancel" }, now: number, effects: RunEffect[]): void => {
  const immediate = input.force || run.kind !== "coordinator" || run.halted !== undefined;
  if (run.cancelled !== undefined && !immediate) return;
  for (const pending of run.pending.values()) release(pending, input.reason, effects);
  const record: JournalRecord = { t: "cancel", at: now, reason: input.reason };
  write(run, record, effects);
  if (!immediate) {
    effects.push({ t: "deliver", record, index: run.next - 1 });
    return;
  }
  finish(run, { t: "finish", cancelled: true, failure: { code: "RUN_CANCELLED", message: input.reason } }, now, effects);
};

const resume = (run: RunState, now: number, effects: RunEffect[]): void => {
  const dead = [...run.pending.values()].filter((pending) => pending.t === "call" && pending.dead !== undefined) as PendingCall[];
  write(run, { t: "resume", at: now }, effects);
  effects.push({ t: "resumed" });
  for (const call of dead) effects.push({ t: "enqueue", call });
};

/** How the run stands, from its state alone. `driving` tells whether its driver has something left to do. */
export const statusOf = (run: RunState, driving: boolean): RunStatus => {
  if (run.finished !== undefined) return run.finished;
  if (run.dead > 0 || run.halted !== undefined) return "suspended";
  if (driving || run.pending.size === 0) return "running";
  for (const pending of run.pending.values()) if (pending.t === "call") return "running";
  return "waiting";
};

/** The earliest time at which a timer of the run fires; `undefined` when it has none. */
export const nextTimer = (run: RunState): number | undefined => {
  let due: number | undefined;
  for (const pending of run.pending.values()) {
    const at = pending.t === "sleep" || pending.t === "signal" ? pending.dueAt : undefined;
    if (at !== undefined && (due === undefined || at < due)) due = at;
  }
  return due;
};

/** Signals that have come and were not awaited yet. */
export const signalsOf = (run: RunState): number => {
  let count = 0;
  for (const signals of run.signals.values()) count += signals.length;
  return count;
};

/** The first dead letter's failure, or why the run was halted. */
export const suspensionOf = (run: RunState): Failure | undefined => {
  if (run.halted !== undefined) return run.halted;
  for (const pending of run.pending.values()) if (pending.t === "call" && pending.dead !== undefined) return pending.dead;
  return undefined;
};
