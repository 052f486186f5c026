import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { ApplicationVersion, Bundle } from "./application.ts";
import type { PlatformEvent } from "./events.ts";
import type { JournalRecord, LogLine, RunFilter, RunPage, RunResult, RunSummary, StartRun } from "./run.ts";

/** A pod as it is shown. */
export interface PodView {
  id: string;
  /** The function it executes, `coordinator` for coordinators' code, or `warm` for a generic one. */
  role: string;
  application?: string;
  version?: string;
  pid: number;
  state: "starting" | "ready" | "draining";
  inFlight: number;
  slots: number;
  startedAt: number;
  coldStartMs?: number;
}

/** One function's queue as it is shown. Rates are per second over the last ten seconds. */
export interface LayerView {
  function: string;
  application: string;
  version: string;
  waiting: number;
  delayed: number;
  running: number;
  dead: number;
  pods: number;
  oldestWaitingMs: number;
  enqueuedPerSecond: number;
  completedPerSecond: number;
  /** Counted since the platform started. */
  completed: number;
  failed: number;
}

export interface CallLog {
  run: RunId;
  /** 0 for the coordinator's own lines. */
  seq: number;
  attempt: number;
  function: string;
  lines: LogLine[];
}

/** Figures for `/metrics`; counters since the start of the platform. */
export interface Counters {
  runsAccepted: number;
  runsFinished: { completed: number; failed: number; cancelled: number };
  runsLive: number;
  callsCompleted: number;
  callsFailed: number;
  callsRetried: number;
  commits: number;
  records: number;
  auditRepairs: number;
  admissionRefused: number;
  podsStarted: number;
  podsLost: number;
}

/**
 * What the edges (gateway, CLI with --app, testing kit) may ask of the platform. Refusals and operating errors are thrown as `LockstepError`.
 */
export interface ControlPlane {
  /** Resolves once the run is on disk (P1). `existing` tells that the idempotency key was known. */
  start(request: StartRun): Promise<{ id: RunId; existing: boolean }>;
  /** Waits up to `waitMs` for the run to finish or suspend, and tells how it stands. */
  result(id: RunId, waitMs: number): Promise<RunResult>;
  run(id: RunId): Promise<RunSummary & RunResult & { input: Json; waitingFor: string[] }>;
  runs(filter: RunFilter, limit: number, cursor?: string): Promise<RunPage>;
  journal(id: RunId): Promise<JournalRecord[]>;
  logs(filter: { run?: RunId; function?: string; limit: number; after?: number }): Promise<{ logs: CallLog[]; next: number }>;
  signal(id: RunId, name: string, value: Json): Promise<void>;
  /** `force` ends the run at once, even if its coordinator catches the cancellation. */
  cancel(id: RunId, options: { reason: string; force?: boolean }): Promise<void>;
  /** Gives the dead letters of a suspended run a fresh set of attempts. */
  resume(id: RunId): Promise<void>;
  deploy(bundle: Bundle): Promise<ApplicationVersion>;
  applications(): Promise<ApplicationVersion[]>;
  pods(): PodView[];
  layers(): LayerView[];
  /** Events after `position`, oldest first. */
  events(position: number, limit: number): Promise<PlatformEvent[]>;
  /** Calls back after each commit that held events; returns what ends it. */
  onEvents(listener: (events: readonly PlatformEvent[]) => void): () => void;
  counters(): Counters;
  /** `undefined` when ready to take work, else why not. */
  notReady(): string | undefined;
}
