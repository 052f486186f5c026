/**
 * The state of one run: what it waits for and remembers, and what can be seen from that alone.
 *
 * Owns: its form, and questions about it. Does not own: how records change it (run-records.ts), what follows from an input (machine.ts,
 * recovery-machine.ts).
 */
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { CallOptions, RunKind, RunStatus } from "../protocol/run.ts";
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
  /** State keys that it has read, at most `MAX_READS` of run-records.ts. */
  readonly reads: Set<string>;
  /** It wants to know when one of them becomes stale. */
  watching: boolean;
  finished: "completed" | "failed" | "cancelled" | undefined;
}

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

export const isKnown = ({ known }: RunState, seq: number): boolean => seq <= known.upTo || known.beyond.has(seq);

export const callOf = (run: RunState, seq: number): PendingCall | undefined => {
  const pending = run.pending.get(seq);
  return pending?.t === "call" ? pending : undefined;
};

export const isLoss = (failure: Failure): boolean => failure.code === "POD_LOST" || failure.code === "OUT_OF_MEMORY";

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
