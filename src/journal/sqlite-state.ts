/**
 * The rows of the state store: what is read of them, and how a commit changes them.
 *
 * Owns: the table `state` and `meta.last_version`. Does not own: the transaction and the fence (sqlite-journal.ts), what a change means
 * (src/state).
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { compareUtf8 } from "../lib/utf8.ts";
import type { Space, Staleness, StateChange, StateEntry } from "../protocol/state.ts";
import type { StateRows } from "./port.ts";
import { unavailable } from "./sqlite-errors.ts";
import { prepareAll, STATE_SQL, type Statements } from "./sqlite-queries.ts";
import { BulkInsert } from "./sqlite-transaction.ts";
import { lastChanges } from "./state-changes.ts";

interface StateRow {
  key: string;
  version: number;
  expires_at: number | null;
  stale: string | null;
  value: string | null;
}

/** @throws {LockstepError} JOURNAL_UNAVAILABLE from all that reads */
export class SqliteState implements StateRows {
  readonly #statements: Statements<typeof STATE_SQL>;
  readonly #lastVersion: () => number;

  constructor(db: DatabaseSync, lastVersion: () => number) {
    this.#statements = prepareAll(db, STATE_SQL);
    this.#lastVersion = lastVersion;
  }

  get lastVersion(): number {
    return this.#lastVersion();
  }

  async get(space: Space, key: string): Promise<StateEntry | undefined> {
    const row = read(() => this.#statements.get.get(space, key));
    return row === undefined ? undefined : entryOf(row as unknown as StateRow);
  }

  async list(space: Space, prefix: string, limit: number, after?: string): Promise<StateEntry[]> {
    return read(() => this.#list(space, prefix, limit, after));
  }

  async stale(): Promise<(StateEntry & { space: Space })[]> {
    return read(() => this.#statements.stale.all().map((row) => ({ space: row.space as string, ...entryOf(row as unknown as StateRow) })));
  }

  async expired(now: number, limit: number): Promise<{ space: Space; key: string }[]> {
    const rows = read(() => this.#statements.expired.all(now, limit) as { space: string; key: string }[]);
    return rows.map(({ space, key }) => ({ space, key }));
  }

  #list(space: Space, prefix: string, limit: number, after: string | undefined): StateEntry[] {
    const entries: StateEntry[] = [];
    if (limit < 1) return entries;
    const first = after === undefined || compareUtf8(after, prefix) < 0 ? prefix : after;
    for (const row of this.#statements.from.iterate(space, first)) {
      const { key } = row as { key: string };
      if (key === after) continue;
      if (!key.startsWith(prefix)) break;
      entries.push(entryOf(row as unknown as StateRow));
      if (entries.length === limit) break;
    }
    return entries;
  }
}

const read = <T>(work: () => T): T => {
  try {
    return work();
  } catch (cause) {
    throw unavailable("the state store could not be read", cause);
  }
};

const entryOf = ({ key, version, expires_at, stale, value }: StateRow): StateEntry => {
  const entry: StateEntry = { key, value: value ?? "", version };
  if (stale !== null) entry.stale = JSON.parse(stale) as Staleness;
  if (expires_at !== null) entry.expiresAt = expires_at;
  return entry;
};

const INTO = "state(space, key, version, expires_at, stale, value)";
const REPLACED = ["version", "expires_at", "stale", "value"].map((column) => `${column} = excluded.${column}`).join(", ");

/** The write side, inside the transaction of a commit. */
export class StateWriter {
  readonly #rows: BulkInsert;
  readonly #marks: BulkInsert;
  readonly #remove: StatementSync;
  readonly #unmark: StatementSync;
  readonly #removeEmpty: StatementSync;
  readonly #keepVersion: StatementSync;

  constructor(db: DatabaseSync) {
    this.#rows = new BulkInsert(db, INTO, `ON CONFLICT(space, key) DO UPDATE SET ${REPLACED}`);
    this.#marks = new BulkInsert(db, INTO, "ON CONFLICT(space, key) DO UPDATE SET stale = excluded.stale");
    this.#remove = db.prepare("DELETE FROM state WHERE space = ? AND key = ?");
    this.#unmark = db.prepare("UPDATE state SET stale = NULL WHERE space = ? AND key = ?");
    this.#removeEmpty = db.prepare("DELETE FROM state WHERE space = ? AND key = ? AND value IS NULL AND stale IS NULL");
    this.#keepVersion = db.prepare("UPDATE meta SET last_version = ?");
  }

  /** Returns the greatest version that was ever written, `last` before. */
  write(changes: readonly StateChange[], last: number): number {
    const rows: SQLInputValue[] = [];
    const marks: SQLInputValue[] = [];
    for (const change of lastChanges(changes)) this.#sort(change, rows, marks);
    this.#rows.insert(rows);
    this.#marks.insert(marks);
    let greatest = last;
    for (const { version, keep } of changes) if (keep !== true && version > greatest) greatest = version;
    if (greatest > last) this.#keepVersion.run(greatest);
    return greatest;
  }

  // Each key is changed once, so what goes may go before what comes.
  #sort({ space, key, value, version, stale, expiresAt, keep }: StateChange, rows: SQLInputValue[], marks: SQLInputValue[]): void {
    const mark = stale === undefined ? null : JSON.stringify(stale);
    if (keep === true && mark !== null) {
      marks.push(space, key, 0, null, mark, null);
    } else if (keep === true) {
      this.#unmark.run(space, key);
      this.#removeEmpty.run(space, key);
    } else if (value === undefined && mark === null) {
      this.#remove.run(space, key);
    } else {
      rows.push(space, key, value === undefined ? 0 : version, expiresAt ?? null, mark, value ?? null);
    }
  }
}
