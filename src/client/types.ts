import type { Certificate } from "../consensus/certificate.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { LogLine, RunKind, RunStatus, RunSummary } from "../protocol/run.ts";

/** How a run stands. `value` is there when it completed with one, `failure` when it failed, was cancelled or is suspended. */
export interface RunOutcome<Output = unknown> {
  id: RunId;
  status: RunStatus;
  value?: Output;
  failure?: Failure;
}

/** A run with everything that the platform tells of it. */
export interface RunDetails<Output = unknown> extends RunSummary, Omit<RunOutcome<Output>, "id" | "status"> {
  input?: unknown;
  /** What a waiting run waits for, as text for people. */
  waitingFor: string[];
}

/** A record of a run's journal, as JSON: see docs/concepts.md for its kinds. `t` names the kind. */
export interface JournalEntry {
  t: string;
  at: number;
  seq?: number;
  [fact: string]: unknown;
}

/** A result with its proof. */
export interface RunCertificate {
  /** The call's number; of a compensation, the negative one of what it undoes. */
  call: number;
  function: string;
  /** When the call ended: Unix milliseconds. */
  at: number;
  /** `verifyCertificate` of `lockstep/verify` checks it; `certificateText` there gives the text of its file. */
  certificate: Certificate;
}

export interface StartOptions {
  /** Idempotency key: a second start of the same target with it gives back the first run. It also makes a lost connection harmless. */
  key?: string;
  /** Higher goes first within each function's layer. Default 0. */
  priority?: number;
}

export interface WaitOptions {
  /** How long to wait for the run; after that the promise rejects with WAIT_TIMEOUT, and the run goes on. Default: without limit. */
  timeoutMs?: number;
  /** Ends the waiting; the run goes on. */
  signal?: AbortSignal;
}

export interface RunsFilter {
  status?: RunStatus | readonly RunStatus[];
  kind?: RunKind;
  name?: string;
  key?: string;
  /** Accepted at or after this time: Unix milliseconds or a Date. */
  since?: number | Date;
  /** Accepted before this time. */
  until?: number | Date;
  /** Runs per page. Default: the platform's. */
  limit?: number;
}

/**
 * What a person decides for a suspended run. `call` is the number of the call that is meant, where several wait: 0 is the coordinator
 * itself, a negative one a compensation. `by` tells who decides, and is kept in the run's journal.
 */
export type RunResolution = ({ retry: true; input?: unknown } | { value: unknown } | { fail: string }) & { call?: number; by?: string };

/** Which suspended runs get a fresh set of attempts. */
export interface RetryFilter {
  /** Of the coordinator or function. */
  name?: string;
  /** Runs with a dead letter of this function. */
  function?: string;
  /** Accepted at or after this time: Unix milliseconds or a Date. */
  since?: number | Date;
  /** Default 1,000. */
  limit?: number;
  /** Only tells which runs they are. */
  dryRun?: boolean;
}

export interface LogsFilter {
  run?: RunId;
  function?: string;
  /** Entries with a line of this level or a graver one, and only those lines. An execution that failed counts as an error. */
  level?: LogLine["level"];
  /** Entries with a line that has this text in it, in any case, and only those lines. */
  text?: string;
  /** Written at or after this time: Unix milliseconds or a Date. */
  since?: number | Date;
  limit?: number;
  /** The `next` of an earlier answer: gives what came after it. `latest` gives no entry, and as `next` the end of what there is now. */
  after?: number | "latest";
}
