import type { AcceptedRun } from "../journal/port.ts";
import type { Failure } from "../lib/errors.ts";
import type { JournalRecord, RunResult, RunStatus } from "../protocol/run.ts";
import type { Entry } from "../queue/machine.ts";
import type { Driver } from "./direct.ts";
import type { RunInput } from "./machine.ts";
import { type PendingCall, type RunState, statusOf, suspensionOf } from "./run-state.ts";

/** A run in memory: its machine's state, and what the service keeps beside it. */
export interface Live {
  readonly head: AcceptedRun;
  readonly state: RunState;
  /** The calls that are in a layer or execute. */
  readonly entries: Map<number, Entry>;
  /** Decides the run's commands here; `undefined` for coordinators, whose code runs in a pod. */
  readonly driver: Driver | undefined;
  /** `loading`: its history is on its way to a pod, and `held` keeps what must follow it. */
  hosting: "none" | "loading" | "hosted";
  held: { index: number; record: JournalRecord }[];
  /** Consecutive times that its host died while it made no progress, and how many of these it was alone there. */
  hostLosses: number;
  soloLosses: number;
  /** How many runs may share a pod with it. */
  company: number;
  /** How often each call has met a conflict in the state store, one after the other. */
  conflicts: Map<number, number> | undefined;
  /** Its operations on the state store that are under way, and what gives each up; made with the first. */
  operations: Map<number, () => void> | undefined;
  /** Steps that execute in its pod now: they would be lost with an eviction. */
  readonly steps: Set<number>;
  /** What the journal's head row says of it. */
  stored: { status: RunStatus; live: boolean };
  touchedAt: number;
}

/** Brings an input to the machine of a run, and carries out what follows. */
export type Feed = (live: Live, input: RunInput) => void;

export const createLive = (head: AcceptedRun, state: RunState, driver: Driver | undefined, now: number): Live => ({
  head,
  state,
  entries: new Map(),
  driver,
  hosting: "none",
  held: [],
  hostLosses: 0,
  soloLosses: 0,
  company: Number.POSITIVE_INFINITY,
  conflicts: undefined,
  operations: undefined,
  steps: new Set(),
  stored: { status: "running", live: true },
  touchedAt: now,
});

/** A run is given up that has lost its pod so often, while it was alone there and made no progress. */
export const MAX_SOLO_LOSSES = 5;

/** It has shown that it does not end its pods. */
export const absolve = (live: Live): void => {
  live.hostLosses = 0;
  live.soloLosses = 0;
  live.company = Number.POSITIVE_INFINITY;
};

export const isSuspended = ({ state }: Live): boolean => state.dead > 0 || state.halted !== undefined;

export const statusOfLive = (live: Live): RunStatus => statusOf(live.state, live.hosting === "loading" || live.steps.size > 0);

export const resultOfLive = (live: Live): RunResult => {
  const failure = suspensionOf(live.state);
  const status = statusOfLive(live);
  return failure === undefined ? { id: live.head.id, status } : { id: live.head.id, status, failure };
};

/** A child's failure as its parent sees it. The call that failed it is the child's: by its number the parent knows another one. */
export const childFailure = (child: AcceptedRun, { call: _, ...failure }: Failure): Failure => ({
  ...failure,
  message: `child "${child.name}" (${child.id}): ${failure.message}`,
});

const MOST_SHOWN = 20;
const LAST_DATE_MS = 8.64e15;

// `ctx.sleep(Infinity)` is as long as a number can say, and longer than dates go.
const untilText = (ms: number): string => (ms > LAST_DATE_MS ? "for ever" : `until ${new Date(ms).toISOString()}`);

/** What a run waits for, as text for people. */
export const describePending = (state: RunState): string[] => {
  const described: string[] = [];
  for (const pending of state.pending.values()) {
    if (described.length >= MOST_SHOWN) return [...described, `and ${state.pending.size - MOST_SHOWN} more`];
    if (pending.t === "call") described.push(describeCall(pending));
    else if (pending.t === "sleep") described.push(`sleep ${untilText(pending.dueAt)}`);
    else if (pending.t === "signal") described.push(`signal "${pending.name}"`);
    else if (pending.t === "state")
      described.push(`state ${pending.op.op} of "${"key" in pending.op ? pending.op.key : pending.op.prefix}"`);
    else described.push(`child ${pending.child} of ${pending.coordinator}`);
  }
  if (state.recovering !== undefined) described.push(`recovery ${state.recovering.recovery} of ${state.name}`);
  return described;
};

const describeCall = ({ seq, fn, dead, recovering, compensating }: PendingCall): string => {
  const what = seq < 0 ? `compensation of call ${-seq} of ${fn}` : `call ${seq} of ${fn}`;
  if (dead !== undefined) return `${what} (dead letter)`;
  if (recovering !== undefined) return `${what} (recovery ${recovering.recovery})`;
  return compensating === undefined ? what : `${what} (until the run is compensated)`;
};
