import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { ApplicationVersion, Bundle, Trigger } from "./application.ts";
import type { ClusterPlane, PodView } from "./cluster.ts";
import type { PlatformEvent } from "./events.ts";
import type { Drill, DrillRequest, FaultView } from "./faults.ts";
import type { ByteRange, ObjectInfo, ObjectPage, PutOptions } from "./objects.ts";
import type { Resolution } from "./recovery.ts";
import type { ReplicaSetView } from "./replica.ts";
import type { ExecutionReport, JournalRecord, LogLine, RunFilter, RunPage, RunResult, RunSummary, StartRun } from "./run.ts";
import type { StateEntry, StateWrite } from "./state.ts";

export type { PodView } from "./cluster.ts";

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
  /** Calls wait because of the function's limit per second, and for nothing else. */
  throttled: boolean;
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
  /** Present when the lines are those of an attempt that has ended. */
  report?: ExecutionReport;
}

/** Which log entries are wanted. */
export interface LogFilter {
  run?: RunId;
  function?: string;
  /** Entries that hold a line of this level or a graver one; only those lines are given. */
  level?: LogLine["level"];
  /** Entries that hold a line with this text in it, in any case; only those lines are given. */
  text?: string;
  /** Written at or after: Unix ms. */
  since?: number;
  limit: number;
  /** A cursor, or the end of what there is now. */
  after?: number | "latest";
}

/** What a bulk repair does, or would do. */
export interface Repair {
  run: RunId;
  name: string;
  /** The dead letters' functions. */
  functions: string[];
  failure: string;
}

export interface RepairFilter {
  name?: string;
  function?: string;
  /** Suspended runs accepted at or after: Unix ms. */
  since?: number;
  /** At most so many; default 1,000. */
  limit?: number;
}

/** How an unfinished run would fare under new code. */
export interface Rehearsal {
  run: RunId;
  name: string;
  version: string;
  /** Why it would diverge; absent when it replays. */
  failure?: { code: string; message: string };
}

/** Objects as the edges use them. Operating errors: UNKNOWN_BUCKET, UNKNOWN_OBJECT, PRECONDITION_FAILED, STORAGE_FULL, STORAGE_UNAVAILABLE. */
export interface ObjectPlane {
  buckets(): Promise<string[]>;
  createBucket(bucket: string): Promise<void>;
  /** Resolves when the object, its event and the runs that it starts are durable (P5). */
  put(bucket: string, key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo>;
  get(bucket: string, key: string, range?: ByteRange): Promise<{ info: ObjectInfo; range?: ByteRange; body: AsyncIterable<Uint8Array> }>;
  head(bucket: string, key: string): Promise<ObjectInfo>;
  list(bucket: string, options: { prefix?: string; cursor?: string; limit?: number }): Promise<ObjectPage>;
  copy(from: { bucket: string; key: string }, to: { bucket: string; key: string }): Promise<ObjectInfo>;
  /** Whether there was one. */
  delete(bucket: string, key: string, options?: { ifMatch?: string }): Promise<boolean>;
  /** An S3 event notification, parsed: starts what its PUTs start, each version once. Gives how many events it held. */
  notify(notification: unknown): Promise<number>;
}

/** The state store as the edges use it: outside of any invocation. */
export interface StatePlane {
  get(application: string, key: string): Promise<StateEntry>;
  list(application: string, prefix: string, limit: number, after?: string): Promise<StateEntry[]>;
  /** @throws {LockstepError} STATE_CONFLICT, STATE_KEY_INVALID */
  write(application: string, write: StateWrite): Promise<StateEntry>;
  /** Keys that are stale now. */
  stale(application?: string): Promise<(StateEntry & { application: string })[]>;
}

/** A webhook's request. */
export interface HookRequest {
  method: string;
  /** What follows `/v1/hooks/`. */
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** The body as it came: signatures cover its bytes. */
  body: Uint8Array;
}

/** A trigger of a current version, as it is shown. Times are Unix milliseconds. */
export interface TriggerView {
  /** What it starts. */
  kind: "coordinator" | "function";
  name: string;
  application: string;
  trigger: Trigger;
  /** When a schedule is due. */
  next?: number;
  /** What it started last: for a schedule ever, for others since the platform started. `at` of a schedule is the tick's time. */
  last?: { at: number; run?: RunId };
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
  coldStarts: ColdStarts[];
}

/** How often pods had to load a function's code (or coordinators') before they could work, and how long that took in all. */
export interface ColdStarts {
  application: string;
  /** `coordinator` for coordinators' code. */
  function: string;
  count: number;
  /** From the moment at which a pod was asked for. */
  totalMs: number;
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
  logs(filter: LogFilter): Promise<{ logs: CallLog[]; next: number }>;
  signal(id: RunId, name: string, value: Json): Promise<void>;
  /** `force` ends the run at once, even if its coordinator catches the cancellation. */
  cancel(id: RunId, options: { reason: string; force?: boolean }): Promise<void>;
  /** Gives the dead letters of a suspended run a fresh set of attempts. */
  resume(id: RunId): Promise<void>;
  /** Answers for a suspended run. @throws {LockstepError} RUN_NOT_SUSPENDED, CALL_NOT_FOUND */
  resolve(id: RunId, resolution: Resolution, by: string): Promise<void>;
  /** Gives the dead letters of all suspended runs that fit fresh attempts; with `dryRun` only tells which. */
  repair(filter: RepairFilter, dryRun: boolean): Promise<Repair[]>;
  /** A new run of the same target and input, which reuses what the run did before call `from` (default: nothing). Current version. */
  restart(id: RunId, from?: number): Promise<{ id: RunId; reused: number }>;
  /** Replays all unfinished runs of the bundle's application against its code. */
  rehearse(bundle: Bundle): Promise<Rehearsal[]>;
  readonly objects: ObjectPlane;
  readonly state: StatePlane;
  readonly cluster: ClusterPlane;
  /** Starts what the webhook starts. @throws {LockstepError} UNKNOWN_ROUTE, METHOD_NOT_ALLOWED, SIGNATURE_INVALID */
  hook(request: HookRequest): Promise<{ runs: RunId[] }>;
  /** What starts runs by itself now. */
  triggers(): TriggerView[];
  deploy(bundle: Bundle): Promise<ApplicationVersion>;
  applications(): Promise<ApplicationVersion[]>;
  pods(): PodView[];
  layers(): LayerView[];
  /** What of the platform itself has failed, the newest first; at most the last 500. */
  faults(limit: number): FaultView[];
  /** Replica sets that are at work now. */
  replicaSets(): ReplicaSetView[];
  /** Provokes a fault. @throws {LockstepError} DRILLS_DISABLED, UNKNOWN_POD */
  drill(request: DrillRequest): Drill;
  /** Of the newest event. */
  position(): number;
  /** Events after `position`, oldest first. */
  events(position: number, limit: number): Promise<PlatformEvent[]>;
  /** Calls back after each commit that held events; returns what ends it. */
  onEvents(listener: (events: readonly PlatformEvent[]) => void): () => void;
  counters(): Counters;
  /** `undefined` when ready to take work, else why not. */
  notReady(): string | undefined;
}
