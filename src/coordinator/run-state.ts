/**
 * The state of one run, and how its journal's records change it.
 *
 * Owns: what a run waits for and remembers. Does not own: what follows from an input (machine.ts, recovery-machine.ts).
 */
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import type { CallOptions, JournalRecord, RunKind, RunStatus } from "../protocol/run.ts";
import type { StateOp } from "../protocol/state.ts";

export interface PendingCall {
  t: "call";
  /** Negative for the compensation of call `-seq`. */
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
  /** When it failed for good (Unix ms): whatever decides of it later, from then on it was waited for. */
  failedAt: number | undefined;
  /** Its function has a `compensate`. */
  undoable: boolean;
  /** The output of the call that it compensates. */
  undo: Json | undefined;
  progress: Json | undefined;
  /** It has failed for good, and its recovery decides. */
  recovering: Recovering | undefined;
  recoveries: number;
  /** It waits for the end of the compensation that its recovery asked for, and then fails with this. */
  compensating: Failure | undefined;
}

export interface Recovering {
  readonly recovery: RunId;
  readonly failure: Failure;
  /** How many recoveries have been started for this failure, this one included. */
  readonly tries: number;
}

export type Pending =
  | PendingCall
  | { t: "sleep"; seq: number; dueAt: number }
  | { t: "signal"; seq: number; name: string; dueAt: number | undefined }
  | { t: "child"; seq: number; coordinator: string; child: RunId }
  | { t: "state"; seq: number; op: StateOp };

/** A call that can be compensated. */
export interface Completed {
  readonly seq: number;
  readonly fn: string;
  readonly version: string;
  readonly input: Json;
  readonly output: Json;
  readonly options: CallOptions | undefined;
  /** Attempts at compensating it that a cancellation has cut off: they fence those that follow. */
  readonly attempts: number;
}

/** How a run is to end. */
export interface Ending {
  readonly value?: Json;
  readonly failure?: Failure;
  readonly cancelled?: boolean;
}

/** Who waits for the end of a compensation: a command, a failed call, or the run itself. It goes to its end also when none of them is left. */
export interface Undoing {
  readonly commands: Set<number>;
  readonly calls: Set<number>;
  run: Ending | undefined;
  readonly undone: { seq: number; function: string }[];
}

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
  /** A run that cannot go on (divergence, a coordinator that kills its pod, an escalation) for another reason than a dead letter. */
  halted: Failure | undefined;
  /** Its coordinator has ended with this failure, and what follows is not decided yet. */
  ended: Failure | undefined;
  recovering: Recovering | undefined;
  /** When it failed by itself, or was halted (Unix ms). */
  failedAt: number | undefined;
  recoveries: number;
  /** Calls that failed since the last command: the code has done nothing after them, so they can be made anew. */
  readonly failedLast: Map<number, PendingCall>;
  /** Calls that can be compensated, in the order in which they completed. */
  completed: Completed[];
  undoing: Undoing | undefined;
  /** State keys that it has read, at most `MAX_READS`. */
  readonly reads: Set<string>;
  /** It wants to know when one of them becomes stale. */
  watching: boolean;
  finished: "completed" | "failed" | "cancelled" | undefined;
}

const MAX_READS = 1_000;

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
  ended: undefined,
  recovering: undefined,
  failedAt: undefined,
  recoveries: 0,
  failedLast: new Map(),
  completed: [],
  undoing: undefined,
  reads: new Set(),
  watching: false,
  finished: undefined,
});

/** Whether code in a pod decides the run's commands. */
export const isCoded = (kind: RunKind): boolean => kind === "coordinator" || kind === "recovery";

/** Whether the call is in a layer or executes, or should be. */
export const isQueued = (call: PendingCall): boolean =>
  call.dead === undefined && call.recovering === undefined && call.compensating === undefined;

/** Whether the coordinator's code has come to its end, although the run has not. */
export const hasEnded = (run: RunState): boolean => run.ended !== undefined || run.undoing?.run !== undefined;

/** Changes the state by one record: the only way in which it changes. */
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

export const isKnown = ({ known }: RunState, seq: number): boolean => seq <= known.upTo || known.beyond.has(seq);

const buffer = (run: RunState, name: string): { at: number; value: Json }[] => getOrMake(run.signals, name, () => []);

export const callOf = (run: RunState, seq: number): PendingCall | undefined => {
  const pending = run.pending.get(seq);
  return pending?.t === "call" ? pending : undefined;
};

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

export const isLoss = (failure: Failure): boolean => failure.code === "POD_LOST" || failure.code === "OUT_OF_MEMORY";

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

/** How the run stands, from its state alone. `driving` tells whether its driver has something left to do. */
export const statusOf = (run: RunState, driving: boolean): RunStatus => {
  if (run.finished !== undefined) return run.finished;
  if (run.dead > 0 || run.halted !== undefined) return "suspended";
  if (driving || run.pending.size === 0 || run.recovering !== undefined || run.undoing !== undefined) return "running";
  for (const pending of run.pending.values()) if (pending.t === "call" || pending.t === "state") return "running";
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
