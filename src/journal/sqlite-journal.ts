/**
 * The journal in one SQLite file.
 *
 * Owns: the transaction of a commit and the fence. Does not own: the settings of the file (sqlite-connection.ts), the tables
 * (sqlite-schema.ts), what a commit writes (sqlite-writer.ts), what is read (sqlite-reader.ts, sqlite-list.ts, sqlite-state.ts), the directory
 * (sqlite-owner.ts).
 *
 * J1  `commit` returns after the WAL is synced (synchronous = FULL), or throws and has changed nothing.
 * J2  A handle writes only while its epoch is the file's: each transaction that writes looks first.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { ApplicationVersion, Bundle } from "../protocol/application.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { JournalRecord, RunFilter, RunKind, RunPage, RunStatus } from "../protocol/run.ts";
import type { Batch, Journal, StoredRun } from "./port.ts";
import { Applications } from "./sqlite-applications.ts";
import { connect, reserveWal } from "./sqlite-connection.ts";
import { commitError, unavailable } from "./sqlite-errors.ts";
import { RunList } from "./sqlite-list.ts";
import { LogReader } from "./sqlite-logs.ts";
import { SqliteReader } from "./sqlite-reader.ts";
import { migrate } from "./sqlite-schema.ts";
import { SqliteState } from "./sqlite-state.ts";
import { Transactions } from "./sqlite-transaction.ts";
import type { Heads } from "./sqlite-writer.ts";
import { SqliteWriter } from "./sqlite-writer.ts";

export interface SqliteJournalOptions {
  /** Inputs and results with more characters than this are stored apart from their run and record. Default 32,768. */
  inlineLimit?: number;
  /** WAL pages of 4 KiB after which a commit also moves them into the database. Default 1,000. */
  checkpointPages?: number;
  /** Called once, when the journal is closed. */
  onClose?: () => void;
}

export class SqliteJournal implements Journal {
  readonly epoch: number;
  readonly state: SqliteState;
  readonly #db: DatabaseSync;
  readonly #transactions: Transactions;
  readonly #writer: SqliteWriter;
  readonly #reader: SqliteReader;
  readonly #logs: LogReader;
  readonly #list: RunList;
  readonly #applications: Applications;
  readonly #onClose: () => void;
  #heads: Heads;
  #closed = false;

  /** @throws {LockstepError} DATA_DIRECTORY_NEWER, JOURNAL_UNAVAILABLE */
  constructor(path: string, options: SqliteJournalOptions = {}) {
    const checkpointPages = options.checkpointPages ?? 1_000;
    this.#onClose = options.onClose ?? (() => undefined);
    this.#db = connect(path, checkpointPages);
    try {
      migrate(this.#db);
      this.#transactions = new Transactions(this.#db);
      this.epoch = this.#transactions.run(() => nextEpoch(this.#db));
      reserveWal(path, checkpointPages);
      this.#writer = new SqliteWriter(this.#db, options.inlineLimit ?? 32_768);
      this.#reader = new SqliteReader(this.#db);
      this.#logs = new LogReader(this.#db);
      this.#list = new RunList(this.#db);
      this.#applications = new Applications(this.#db);
      this.#heads = this.#reader.heads();
      this.state = new SqliteState(this.#db, () => this.#heads.lastVersion);
    } catch (cause) {
      this.#db.close();
      throw unavailable(`the journal ${path} could not be opened`, cause);
    }
  }

  get lastOrdinal(): number {
    return this.#heads.lastOrdinal;
  }

  get lastPosition(): number {
    return this.#heads.lastPosition;
  }

  async commit(batch: Batch): Promise<number> {
    const first = this.#heads.lastPosition + 1;
    this.#heads = this.#write(() => this.#writer.write(batch, this.#heads));
    return first;
  }

  async load(id: RunId): Promise<StoredRun | undefined> {
    return read(() => this.#reader.run(id));
  }

  async records(id: RunId): Promise<JournalRecord[]> {
    return read(() => this.#reader.records(id));
  }

  async live(): Promise<RunId[]> {
    return read(() => this.#reader.live());
  }

  async dueBy(until: number, limit: number): Promise<{ id: RunId; wakeAt: number }[]> {
    return read(() => this.#reader.dueBy(until, limit));
  }

  async findByKey(kind: RunKind, name: string, key: string): Promise<StoredRun | undefined> {
    return read(() => this.#reader.byKey(kind, name, key));
  }

  async list(filter: RunFilter, limit: number, cursor?: string): Promise<RunPage> {
    return read(() => this.#list.page(filter, limit, cursor));
  }

  async countByStatus(): Promise<Record<RunStatus, number>> {
    return read(() => this.#reader.countByStatus());
  }

  async purgeable(policy: { before: number; keep: number }, limit: number): Promise<RunId[]> {
    return read(() => this.#reader.purgeable(policy, limit));
  }

  async events(after: number, limit: number): Promise<PlatformEvent[]> {
    return read(() => this.#reader.events(after, limit));
  }

  async logs(filter: Parameters<Journal["logs"]>[0], limit: number): ReturnType<Journal["logs"]> {
    try {
      return await this.#logs.search(filter, limit, this.#heads.lastLog);
    } catch (cause) {
      throw unreadable(cause);
    }
  }

  async saveApplication(bundle: Bundle, version: ApplicationVersion): Promise<void> {
    this.#write(() => this.#applications.save(bundle, version));
  }

  async applications(): Promise<ApplicationVersion[]> {
    return read(() => this.#applications.all());
  }

  async bundle(version: string): Promise<Bundle | undefined> {
    return read(() => this.#applications.bundle(version));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#db.close();
    } finally {
      this.#onClose();
    }
  }

  #write<T>(work: () => T): T {
    try {
      return this.#transactions.run(() => {
        this.#fence();
        return work();
      });
    } catch (cause) {
      throw commitError(cause);
    }
  }

  #fence(): void {
    const stored = this.#reader.epoch();
    if (stored === this.epoch) return;
    throw new LockstepError("EPOCH_FENCED", `the journal is in epoch ${stored}; this process owned it in epoch ${this.epoch}`, {
      details: { epoch: this.epoch, stored },
    });
  }
}

const nextEpoch = (db: DatabaseSync): number => {
  const statement: StatementSync = db.prepare("UPDATE meta SET epoch = epoch + 1 RETURNING epoch");
  return (statement.get() as { epoch: number }).epoch;
};

const unreadable = (cause: unknown): LockstepError => unavailable("the journal could not be read", cause);

const read = <T>(work: () => T): T => {
  try {
    return work();
  } catch (cause) {
    throw unreadable(cause);
  }
};
