/** How rows of the state store are written into the table `state`, inside the transaction of a commit. */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import type { StateChange } from "../protocol/state.ts";
import { BulkInsert } from "./sqlite-transaction.ts";

const INTO = "state(space, key, version, expires_at, stale, value)";
const REPLACED = ["version", "expires_at", "stale", "value"].map((column) => `${column} = excluded.${column}`).join(", ");

export class StateTable {
  readonly #rows: BulkInsert;
  readonly #marks: BulkInsert;
  readonly #remove: StatementSync;
  readonly #unmark: StatementSync;
  readonly #removeEmpty: StatementSync;

  constructor(db: DatabaseSync) {
    this.#rows = new BulkInsert(db, INTO, `ON CONFLICT(space, key) DO UPDATE SET ${REPLACED}`);
    this.#marks = new BulkInsert(db, INTO, "ON CONFLICT(space, key) DO UPDATE SET stale = excluded.stale");
    this.#remove = db.prepare("DELETE FROM state WHERE space = ? AND key = ?");
    this.#unmark = db.prepare("UPDATE state SET stale = NULL WHERE space = ? AND key = ?");
    this.#removeEmpty = db.prepare("DELETE FROM state WHERE space = ? AND key = ? AND value IS NULL AND stale IS NULL");
  }

  /** @param changes one for each key */
  write(changes: readonly StateChange[]): void {
    const rows: SQLInputValue[] = [];
    const marks: SQLInputValue[] = [];
    for (const change of changes) this.#sort(change, rows, marks);
    this.#rows.insert(rows);
    this.#marks.insert(marks);
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
