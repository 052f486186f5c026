import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { Verdict } from "../lib/verdict.ts";
import type { Decision } from "./recovery.ts";
import type { Staleness, StateOp } from "./state.ts";

/** What a run executes. A `recovery` is the `recover` of a definition: its name is `function/<name>` or `coordinator/<name>`. */
export type RunKind = "coordinator" | "expression" | "function" | "recovery";

/**
 * `running`: something is under way. `waiting`: only timers, signals or children are awaited. `suspended`: a person must act.
 * The other three are final.
 */
export type RunStatus = "running" | "waiting" | "suspended" | "completed" | "failed" | "cancelled";

export const FINAL: ReadonlySet<RunStatus> = new Set(["completed", "failed", "cancelled"]);

/** How a failed call is tried again. */
export interface RetryPolicy {
  /** Attempts in all, the first included. Default 4. */
  attempts?: number;
  /** The pause before attempt n + 1 is `initialMs × factor^(n−1)`, at most `maxMs`, with up to `jitter` (0–1) of it taken off. */
  backoff?: { initialMs?: number; factor?: number; maxMs?: number; jitter?: number };
  /** Error codes or class names that are never retried. */
  nonRetryable?: readonly string[];
  /** After the last attempt: `suspend` (default) keeps the call as a dead letter for an operator; `fail` lets the coordinator see the failure. */
  onExhausted?: "suspend" | "fail";
}

/** What a caller may set for one call; the rest comes from the function's definition. */
export interface CallOptions {
  timeoutMs?: number;
  retry?: RetryPolicy;
  /** Higher goes first within the function's layer. Default 0. */
  priority?: number;
}

/** Measurements of one attempt. */
export interface CallMetrics {
  durationMs: number;
  cpuMs: number;
  queueMs: number;
  /** Peak resident memory of the pod when the attempt ended, in MiB. */
  memoryMb: number;
  /** The attempt waited for its pod to load the function's code. */
  coldStart: boolean;
  /** From the moment at which that pod was asked for until it had loaded. */
  coldStartMs?: number;
  pod: string;
}

export interface LogLine {
  at: number;
  level: "debug" | "info" | "warn" | "error";
  text: string;
}

/** A text that vouches for the results of several calls, maybe of several runs: a journal keeps it once, and as long as any of them. */
export interface SharedProof {
  /** Its digest. */
  id: string;
  text: string;
}

/** By which a quorum of replicas vouches for a call: the certificate's own text, or where in a proof that it shares with others it is. */
export type CallCertificate = string | { proof: SharedProof; position: number };

/** What a run must do next, as its driver (coordinator code, expression or direct call) says it. `seq` counts from 1 in program order. */
export type Command =
  | { t: "call"; seq: number; fn: string; input: Json; options?: CallOptions }
  | { t: "sleep"; seq: number; ms: number }
  | { t: "signal"; seq: number; name: string; timeoutMs?: number }
  /** Not journaled: asks for permission to execute a step. From now until its end the run must stay in its pod. */
  | { t: "stepping"; seq: number }
  | { t: "step"; seq: number; name: string; value?: Json; failure?: Failure }
  | { t: "child"; seq: number; coordinator: string; input: Json; detached: boolean }
  | { t: "withdraw"; seq: number; target: number }
  /** One operation on the state store; its outcome is what was read, as JSON of `StateEntry` or of a list of them. */
  | { t: "state"; seq: number; op: StateOp }
  /** Compensates the completed calls, the last to complete first. Its outcome is a list of `{ seq, function }`. */
  | { t: "compensate"; seq: number }
  /** From here on the run is told when a value that it has read becomes stale, by `stale` records. Done at once. */
  | { t: "on-stale"; seq: number }
  | { t: "finish"; value?: Json; failure?: Failure; cancelled?: boolean };

/**
 * The journal of a run, in order. The position of a record in its run is its index from 0. Replay feeds the `done` records to the driver
 * in this order and compares its commands with those recorded.
 */
export type JournalRecord =
  /**
   * The first record of a run that repeats run `of`. `from`: what that one did before this command follows, and as far as it goes the time at
   * its start and its random numbers are those of the run `origin`.
   */
  | { t: "restarted"; at: number; of: RunId; from?: number; origin?: { run: RunId; acceptedAt: number } }
  | { t: "call"; seq: number; at: number; fn: string; version: string; input: Json; options?: CallOptions; undoable?: boolean }
  | { t: "sleep"; seq: number; at: number; ms: number; dueAt: number }
  | { t: "signal"; seq: number; at: number; name: string; dueAt?: number }
  | { t: "step"; seq: number; at: number; name: string }
  | { t: "child"; seq: number; at: number; coordinator: string; input: Json; detached: boolean; child: RunId }
  | { t: "withdraw"; seq: number; at: number; target: number }
  | { t: "state"; seq: number; at: number; op: StateOp }
  | { t: "compensate"; seq: number; at: number }
  | { t: "on-stale"; seq: number; at: number }
  /** Compensates call `-seq`: from here on it is a call itself, whose number is the negative one of what it undoes. */
  | { t: "undo"; seq: number; at: number }
  /** An attempt that failed and will be tried again at `retryAt`. */
  | { t: "attempt"; seq: number; attempt: number; at: number; failure: Failure; retryAt: number; metrics?: CallMetrics }
  /** How far an attempt says that it has come. */
  | { t: "progress"; seq: number; attempt: number; at: number; value: Json }
  /**
   * The outcome of command `seq`: exactly one of `value` and `failure`. `reads`: the state keys that it depends on.
   */
  | {
      t: "done";
      seq: number;
      at: number;
      attempt?: number;
      value?: Json;
      failure?: Failure;
      metrics?: CallMetrics;
      reads?: string[];
      certificate?: CallCertificate;
    }
  /** A value that the run has read is stale now. */
  | { t: "stale"; at: number; key: string; stale: Staleness }
  /** Call `seq` (0: the coordinator itself) has failed for good, and recovery decides what follows. */
  | { t: "recover"; seq: number; attempt: number; at: number; failure: Failure; recovery: RunId }
  /** What was decided of it, by its recovery or (`by`) a person. `since`: when the failure came in. `fn`: the function, or the coordinator for `seq` 0. */
  | { t: "recovered"; seq: number; at: number; fn: string; decision: Decision; by?: string; since?: number }
  /** The failure that call `seq` was done with is void: it is pending again. */
  | { t: "reopen"; seq: number; at: number; input?: Json; notBefore: number }
  /** The coordinator has ended so while the run was compensated; the run itself ends when that is done. */
  | { t: "ended"; at: number; value?: Json; failure?: Failure; cancelled?: boolean }
  | { t: "signalled"; name: string; at: number; value: Json }
  | { t: "cancel"; at: number; reason: string }
  | { t: "suspend"; at: number; seq: number; attempt: number; failure: Failure; metrics?: CallMetrics }
  | { t: "resume"; at: number }
  | { t: "finish"; at: number; status: "completed" | "failed" | "cancelled"; value?: Json; failure?: Failure };

/** What a client asks to run. */
export interface StartRun {
  kind: RunKind;
  /** The coordinator's or function's name; the text for an expression. */
  name: string;
  /** For an expression: JSON of its variables. */
  input: Json;
  /** Idempotency key: a second start with the same kind, name and key returns the first run. */
  key?: string;
  priority?: number;
}

/** A run as it is shown and listed. Times are Unix milliseconds. */
export interface RunSummary {
  id: RunId;
  kind: RunKind;
  name: string;
  application: string;
  version: string;
  status: RunStatus;
  acceptedAt: number;
  finishedAt?: number;
  key?: string;
  parent?: RunId;
}

/** The outcome of a run, as far as it is known. */
export interface RunResult {
  id: RunId;
  status: RunStatus;
  /** JSON text; present when completed. */
  value?: Json;
  /** Present when failed, cancelled or suspended. */
  failure?: Failure;
}

/** How one execution went: written after each, beside what it logged. */
export interface ExecutionReport {
  startedAt: number;
  endedAt: number;
  outcome: "ok" | "fault";
  metrics?: CallMetrics;
  verdict?: Verdict;
  /** The failure's message. */
  message?: string;
}

export interface RunFilter {
  status?: readonly RunStatus[];
  kind?: RunKind;
  name?: string;
  key?: string;
  /** Accepted at or after, before: Unix milliseconds. */
  since?: number;
  until?: number;
}

export interface RunPage {
  runs: RunSummary[];
  /** Give it back to get the next page; absent on the last. */
  cursor?: string;
}
