import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { ApplicationVersion, Bundle } from "../protocol/application.ts";
import type { CallLog, LogFilter } from "../protocol/control-plane.ts";
import type { EventBody, PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord, RunFilter, RunKind, RunPage, RunStatus, RunSummary } from "../protocol/run.ts";
import type { Space, StateChange, StateEntry } from "../protocol/state.ts";

/**
 * A run's head row, as accepted. `parent` and `parentSeq` name the command of the run that started it. `name` and `key` hold no U+0000, which
 * databases cut texts at: the edges refuse it.
 */
export interface AcceptedRun {
  id: RunId;
  kind: RunKind;
  name: string;
  application: string;
  version: string;
  input: Json;
  acceptedAt: number;
  key?: string;
  priority: number;
  parent?: RunId;
  parentSeq?: number;
}

/**
 * A change of a run's head row: it replaces all that an earlier one said. `live: false` keeps the run out of recovery until something (a
 * timer at `wakeAt`, a signal) loads it; a finished run is never live. `finishedAt` comes with the final statuses.
 */
export interface RunChange {
  id: RunId;
  status: RunStatus;
  live: boolean;
  wakeAt?: number;
  finishedAt?: number;
  value?: Json;
  failure?: Failure;
}

export interface StoredRun extends AcceptedRun, RunChange {}

/**
 * Everything that one commit makes durable, all or nothing. `from` is the index of the first of `records` in its run. What is appended and
 * changed belongs to runs that are stored or among `accepted`. Of several changes of one run the last holds.
 */
export interface Batch {
  accepted: AcceptedRun[];
  appended: { run: RunId; from: number; records: JournalRecord[] }[];
  changed: RunChange[];
  events: { at: number; body: EventBody }[];
  logs: CallLog[];
  /** Sleeping runs that become live again, before `changed` applies: recovery must load them. Those that don't sleep are left alone. */
  woken?: RunId[];
  /** Rows of the state store; of several changes of one key the last holds. */
  state?: StateChange[];
  /** Runs that retention removes with all that belongs to them. */
  purged: RunId[];
  /** Events at or before this position are dropped. */
  trimEventsTo?: number;
  /** Log entries at or before this cursor are dropped. */
  trimLogsTo?: number;
}

/** Reading of the state store as it is on disk. Expired rows are still there until they are dropped by a change. */
export interface StateRows {
  /** The greatest version ever written; 0 for none. */
  readonly lastVersion: number;
  get(space: Space, key: string): Promise<StateEntry | undefined>;
  /** Rows whose keys begin with `prefix` and come after `after`, in order of their UTF-8 bytes. */
  list(space: Space, prefix: string, limit: number, after?: string): Promise<StateEntry[]>;
  stale(): Promise<(StateEntry & { space: Space })[]>;
  /** Expired at or before `now`, soonest first. */
  expired(now: number, limit: number): Promise<{ space: Space; key: string }[]>;
}

/**
 * The durable, ordered record of every run, and what is kept beside it. One owner at a time: `open` of an adapter takes a new epoch, and
 * from then on every write of an older owner is refused with EPOCH_FENCED.
 */
export interface Journal {
  readonly epoch: number;
  /** The greatest run ordinal ever accepted and the position of the last event; 0 for none. */
  readonly lastOrdinal: number;
  readonly lastPosition: number;
  /** The state store's rows: what commits have written into `state`. */
  readonly state: StateRows;
  /**
   * Durable when it resolves. Events get consecutive positions after `lastPosition`; the first one is returned (the next one when there are
   * none). Rejects, and keeps nothing, with EPOCH_FENCED, JOURNAL_UNAVAILABLE, IDEMPOTENCY_CONFLICT for a key that is taken, or INTERNAL
   * for what contradicts the journal: a run accepted twice, records appended twice, a change of a run that is not stored.
   */
  commit(batch: Batch): Promise<number>;
  load(id: RunId): Promise<StoredRun | undefined>;
  records(id: RunId): Promise<JournalRecord[]>;
  /** Ids of runs to load at the start: unfinished and live, in the order of acceptance. */
  live(): Promise<RunId[]>;
  /** Not live, and to be woken at or before `until`; soonest first. */
  dueBy(until: number, limit: number): Promise<{ id: RunId; wakeAt: number }[]>;
  findByKey(kind: RunKind, name: string, key: string): Promise<StoredRun | undefined>;
  /** Newest first. A cursor that is none rejects with BAD_REQUEST. */
  list(filter: RunFilter, limit: number, cursor?: string): Promise<RunPage>;
  countByStatus(): Promise<Record<RunStatus, number>>;
  /** Finished runs beyond the `keep` that finished last, or finished before `before`; the first to finish come first. */
  purgeable(policy: { before: number; keep: number }, limit: number): Promise<RunId[]>;
  events(after: number, limit: number): Promise<PlatformEvent[]>;
  /**
   * In the order written, those after the cursor `after`; `next` is the cursor to go on with. Fewer than `limit` are all that there are now,
   * and `next` is then their end. With `after: "latest"` none is given, and `next` is that end.
   */
  logs(filter: Omit<LogFilter, "limit">, limit: number): Promise<{ logs: CallLog[]; next: number }>;
  /** Saves or replaces a version; one that is current takes that from the others of its application. */
  saveApplication(bundle: Bundle, version: ApplicationVersion): Promise<void>;
  applications(): Promise<ApplicationVersion[]>;
  bundle(version: string): Promise<Bundle | undefined>;
  /** Anything asked afterwards rejects with JOURNAL_UNAVAILABLE. */
  close(): Promise<void>;
}

export type { RunSummary };
