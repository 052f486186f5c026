/**
 * The journal in memory, for tests and the testing kit: the same promises as the SQLite adapter, apart from durability.
 *
 * What is stored is a copy, and so is what is given out: nobody can change the journal through an object that they hold.
 */
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import { firstOrdinalAt, ordinalOf } from "../lib/ids.ts";
import type { ApplicationVersion, Bundle } from "../protocol/application.ts";
import type { CallLog } from "../protocol/control-plane.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord, RunFilter, RunKind, RunPage, RunStatus, RunSummary } from "../protocol/run.ts";
import { FINAL } from "../protocol/run.ts";
import { type LogSearch, matcherOf } from "./log-search.ts";
import { applyState, emptyState, MemoryState, type StateStore } from "./memory-state.ts";
import { cursorOf, ordinalOfCursor, ordinalOfRun } from "./ordinals.ts";
import type { AcceptedRun, Batch, Journal, RunChange, StoredRun } from "./port.ts";

export interface MemoryJournal extends Journal {
  /** The same contents under the next epoch; this handle is fenced from then on. */
  reopen(): MemoryJournal;
}

interface Store {
  epoch: number;
  lastOrdinal: number;
  lastPosition: number;
  lastLog: number;
  runs: Map<number, StoredRun>;
  keys: Map<string, number>;
  records: Map<number, { from: number; records: JournalRecord[] }[]>;
  events: PlatformEvent[];
  logs: { n: number; log: CallLog }[];
  applications: { bundle: Bundle; version: ApplicationVersion }[];
  state: StateStore;
}

export const createMemoryJournal = (): MemoryJournal =>
  new InMemory({
    epoch: 0,
    lastOrdinal: 0,
    lastPosition: 0,
    lastLog: 0,
    runs: new Map(),
    keys: new Map(),
    records: new Map(),
    events: [],
    logs: [],
    applications: [],
    state: emptyState(),
  });

// Through JSON, so that a property that is undefined is as absent here as it is in a file.
const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

class InMemory implements MemoryJournal {
  readonly epoch: number;
  readonly state = new MemoryState(() => this.#readable().state);
  readonly #store: Store;
  #closed = false;

  constructor(store: Store) {
    this.#store = store;
    this.epoch = ++store.epoch;
  }

  get lastOrdinal(): number {
    return this.#store.lastOrdinal;
  }

  get lastPosition(): number {
    return this.#store.lastPosition;
  }

  reopen(): MemoryJournal {
    return new InMemory(this.#store);
  }

  async commit(batch: Batch): Promise<number> {
    const store = this.#writable();
    const own = copy(batch);
    check(store, own);
    const first = store.lastPosition + 1;
    for (const run of own.accepted) accept(store, run);
    for (const id of own.woken ?? []) wake(store, ordinalOfRun(id));
    for (const change of own.changed) applyChange(store, change);
    for (const { run, from, records } of own.appended) rowsOf(store, ordinalOfRun(run)).push({ from, records });
    for (const { at, body } of own.events) store.events.push({ position: ++store.lastPosition, at, ...body });
    for (const log of own.logs) store.logs.push({ n: ++store.lastLog, log });
    applyState(store.state, own.state ?? []);
    for (const id of own.purged) purge(store, ordinalOfRun(id));
    const { trimEventsTo, trimLogsTo } = own;
    if (trimEventsTo !== undefined) store.events = store.events.filter(({ position }) => position > trimEventsTo);
    if (trimLogsTo !== undefined) store.logs = store.logs.filter(({ n }) => n > trimLogsTo);
    return first;
  }

  async load(id: RunId): Promise<StoredRun | undefined> {
    return given(this.#readable().runs.get(ordinalOf(id) ?? -1));
  }

  async records(id: RunId): Promise<JournalRecord[]> {
    const rows = this.#readable().records.get(ordinalOf(id) ?? -1) ?? [];
    return copy([...rows].sort((a, b) => a.from - b.from).flatMap(({ records }) => records));
  }

  async live(): Promise<RunId[]> {
    return [...this.#readable().runs].sort(([a], [b]) => a - b).flatMap(([, run]) => (run.live ? [run.id] : []));
  }

  async dueBy(until: number, limit: number): Promise<{ id: RunId; wakeAt: number }[]> {
    const due: { id: RunId; wakeAt: number }[] = [];
    for (const { id, live, status, wakeAt } of this.#readable().runs.values()) {
      if (!live && !FINAL.has(status) && wakeAt !== undefined && wakeAt <= until) due.push({ id, wakeAt });
    }
    return due.sort((a, b) => a.wakeAt - b.wakeAt || (a.id < b.id ? -1 : 1)).slice(0, limit);
  }

  async findByKey(kind: RunKind, name: string, key: string): Promise<StoredRun | undefined> {
    const store = this.#readable();
    return given(store.runs.get(store.keys.get(keyOf(kind, name, key)) ?? -1));
  }

  async list(filter: RunFilter, limit: number, cursor?: string): Promise<RunPage> {
    const end = Math.min(
      filter.until === undefined ? Number.MAX_SAFE_INTEGER : firstOrdinalAt(filter.until),
      cursor === undefined ? Number.MAX_SAFE_INTEGER : ordinalOfCursor(cursor),
    );
    const start = filter.since === undefined ? 0 : firstOrdinalAt(filter.since);
    const found = [...this.#readable().runs].filter(([n, run]) => n >= start && n < end && fits(run, filter)).sort(([a], [b]) => b - a);
    const page: RunPage = { runs: found.slice(0, limit).map(([, run]) => summaryOf(run)) };
    const last = found[limit - 1];
    if (found.length > limit && last !== undefined) page.cursor = cursorOf(last[0]);
    return page;
  }

  async countByStatus(): Promise<Record<RunStatus, number>> {
    const counts: Record<RunStatus, number> = { running: 0, waiting: 0, suspended: 0, completed: 0, failed: 0, cancelled: 0 };
    for (const { status } of this.#readable().runs.values()) counts[status]++;
    return counts;
  }

  async purgeable({ before, keep }: { before: number; keep: number }, limit: number): Promise<RunId[]> {
    const finished = [...this.#readable().runs.values()].filter(({ status }) => FINAL.has(status));
    finished.sort((a, b) => (a.finishedAt ?? 0) - (b.finishedAt ?? 0) || (a.id < b.id ? -1 : 1));
    const beyond = finished.length - keep;
    return finished.flatMap(({ id, finishedAt }, i) => (i < beyond || (finishedAt ?? 0) < before ? [id] : [])).slice(0, limit);
  }

  async events(after: number, limit: number): Promise<PlatformEvent[]> {
    const { events } = this.#readable();
    const skipped = Math.max(0, after + 1 - (events[0]?.position ?? 0));
    return copy(events.slice(skipped, skipped + limit));
  }

  async logs(filter: LogSearch, limit: number): Promise<{ logs: CallLog[]; next: number }> {
    const { logs, lastLog } = this.#readable();
    if (filter.after === "latest") return { logs: [], next: lastLog };
    const after = filter.after ?? 0;
    const match = matcherOf(filter);
    const found = logs.flatMap(({ n, log }) => {
      const fitting = n > after ? match(log) : undefined;
      return fitting === undefined ? [] : [{ n, log: fitting }];
    });
    const page = found.slice(0, limit);
    return { logs: copy(page.map(({ log }) => log)), next: page.length === limit ? (page.at(-1)?.n ?? after) : Math.max(after, lastLog) };
  }

  async saveApplication(bundle: Bundle, version: ApplicationVersion): Promise<void> {
    const store = this.#writable();
    const isSame = (of: ApplicationVersion) => of.application === version.application && of.version === version.version;
    store.applications = store.applications.filter((saved) => !isSame(saved.version));
    for (const saved of store.applications) {
      if (version.current && saved.version.application === version.application) saved.version.current = false;
    }
    store.applications.push(copy({ bundle, version }));
  }

  async applications(): Promise<ApplicationVersion[]> {
    return copy(this.#readable().applications.map(({ version }) => version)).sort((a, b) => a.deployedAt - b.deployedAt);
  }

  async bundle(version: string): Promise<Bundle | undefined> {
    return given(this.#readable().applications.find((saved) => saved.version.version === version)?.bundle);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #readable(): Store {
    if (this.#closed) throw new LockstepError("JOURNAL_UNAVAILABLE", "the journal is closed");
    return this.#store;
  }

  #writable(): Store {
    const store = this.#readable();
    if (store.epoch === this.epoch) return store;
    throw new LockstepError("EPOCH_FENCED", `the journal is in epoch ${store.epoch}; this handle owned it in epoch ${this.epoch}`, {
      details: { epoch: this.epoch, stored: store.epoch },
    });
  }
}

/** Refuses a batch before anything of it is applied: so it is kept as a whole or not at all. */
const check = (store: Store, { accepted, appended, changed }: Batch): void => {
  const runs = new Set<number>();
  const keys = new Set<string>();
  for (const run of accepted) {
    const n = ordinalOfRun(run.id);
    if (store.runs.has(n) || runs.has(n)) throw contradiction(`run ${run.id} is accepted twice`);
    runs.add(n);
    if (run.key === undefined) continue;
    const key = keyOf(run.kind, run.name, run.key);
    if (store.keys.has(key) || keys.has(key)) {
      throw new LockstepError("IDEMPOTENCY_CONFLICT", "the idempotency key of a run in this commit is taken; nothing of it was kept");
    }
    keys.add(key);
  }
  for (const { id } of changed) {
    if (!store.runs.has(ordinalOfRun(id)) && !runs.has(ordinalOfRun(id)))
      throw contradiction(`run ${id} is changed but was never accepted, or was purged`);
  }
  const places = new Set<string>();
  for (const { run, from } of appended) {
    const place = `${run}/${from}`;
    const isTaken = store.records.get(ordinalOfRun(run))?.some((row) => row.from === from) ?? false;
    if (isTaken || places.has(place)) throw contradiction(`records of run ${run} are appended twice at ${from}`);
    places.add(place);
  }
};

const contradiction = (what: string): LockstepError =>
  new LockstepError("INTERNAL", `the commit contradicts what is stored; nothing of it was kept: ${what}`);

const accept = (store: Store, run: AcceptedRun): void => {
  const n = ordinalOfRun(run.id);
  store.runs.set(n, { ...run, status: "running", live: true });
  if (run.key !== undefined) store.keys.set(keyOf(run.kind, run.name, run.key), n);
  store.lastOrdinal = Math.max(store.lastOrdinal, n);
};

const applyChange = (store: Store, change: RunChange): void => {
  const n = ordinalOfRun(change.id);
  const { status, live, wakeAt, finishedAt, value, failure, ...head } = store.runs.get(n) as StoredRun;
  store.runs.set(n, { ...head, ...change, live: change.live && !FINAL.has(change.status) });
};

const wake = (store: Store, n: number): void => {
  const run = store.runs.get(n);
  if (run === undefined || run.live || FINAL.has(run.status)) return;
  run.live = true;
  delete run.wakeAt;
};

const purge = (store: Store, n: number): void => {
  const run = store.runs.get(n);
  if (run?.key !== undefined) store.keys.delete(keyOf(run.kind, run.name, run.key));
  store.runs.delete(n);
  store.records.delete(n);
  store.logs = store.logs.filter(({ log }) => ordinalOf(log.run) !== n);
};

const rowsOf = (store: Store, n: number): { from: number; records: JournalRecord[] }[] => {
  const rows = store.records.get(n) ?? [];
  store.records.set(n, rows);
  return rows;
};

const given = <T>(value: T | undefined): T | undefined => (value === undefined ? undefined : copy(value));

const keyOf = (kind: RunKind, name: string, key: string): string => JSON.stringify([kind, name, key]);

const fits = (run: StoredRun, { status, kind, name, key }: RunFilter): boolean =>
  (status === undefined || status.includes(run.status)) &&
  (kind ?? run.kind) === run.kind &&
  (name ?? run.name) === run.name &&
  (key === undefined || key === run.key);

const summaryOf = ({ id, kind, name, application, version, status, acceptedAt, finishedAt, key, parent }: StoredRun): RunSummary =>
  copy({ id, kind, name, application, version, status, acceptedAt, finishedAt, key, parent });
