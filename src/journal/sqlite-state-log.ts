/**
 * The write side of the state store: a commit appends what it changes to a log, as one row, and rows of the table are written later, many
 * at a time. Written at once, each change would dirty a page of its own, since keys that change together are seldom neighbours.
 *
 * Owns: the table `state_log`, `meta.last_version`, and when changes move from the log into the table. Does not own: the transaction and
 * the fence (sqlite-journal.ts), what is read (sqlite-state.ts).
 *
 * L1  A change is in the log, or in the table, or in both: it leaves the log in the transaction that has brought the last of its generation
 *     into the table. Opening reads the log anew, and changes that are in the table as well are made once more, to the same end.
 * L2  The log is bounded: when it has so many keys, or characters, a generation ends, and the commits after it move it in slices that are
 *     larger than what they add.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { StateChange } from "../protocol/state.ts";
import { StateTable } from "./sqlite-state-table.ts";
import { lastChanges } from "./state-changes.ts";
import { StateOverlay } from "./state-overlay.ts";

export interface StateLogBounds {
  /** What a generation may grow to. */
  keys: number;
  chars: number;
  /** Changes that a commit moves at least. */
  slice: number;
}

// Two generations are read in less than 20 ms when the journal is opened.
const BOUNDS: StateLogBounds = { keys: 4_096, chars: 1024 * 1024, slice: 64 };

/** A generation on its way into the table. */
interface Moving {
  changes: readonly StateChange[];
  at: number;
  /** The last row of the log that belongs to it. */
  upTo: number;
}

/** What the transaction under way has written, for when it is committed. */
interface Written {
  changes: readonly StateChange[];
  chars: number;
  movedTo: number;
}

export class StateLog {
  readonly overlay = new StateOverlay();
  readonly #bounds: StateLogBounds;
  readonly #table: StateTable;
  readonly #append: StatementSync;
  readonly #trim: StatementSync;
  readonly #keepVersion: StatementSync;
  #last = 0;
  #chars = 0;
  #moving: Moving | undefined;
  #written: Written | undefined;

  constructor(db: DatabaseSync, bounds: StateLogBounds = BOUNDS) {
    this.#bounds = bounds;
    this.#table = new StateTable(db);
    this.#append = db.prepare("INSERT INTO state_log(id, changes) VALUES (?, ?)");
    this.#trim = db.prepare("DELETE FROM state_log WHERE id <= ?");
    this.#keepVersion = db.prepare("UPDATE meta SET last_version = ?");
    for (const row of db.prepare("SELECT id, changes FROM state_log ORDER BY id").iterate()) {
      const { id, changes } = row as { id: number; changes: string };
      this.#take(id, JSON.parse(changes) as StateChange[], changes.length);
    }
    this.#age();
  }

  /** Inside the transaction of a commit. Returns the greatest version that was ever written, `last` before. */
  write(given: readonly StateChange[], last: number): number {
    this.#written = undefined;
    if (given.length === 0 && this.#moving === undefined) return last;
    const changes = lastChanges(given);
    const movedTo = this.#move(changes.length);
    const text = changes.length === 0 ? "" : JSON.stringify(changes);
    if (text !== "") this.#append.run(this.#last + 1, text);
    this.#written = { changes, chars: text.length, movedTo };
    const greatest = greatestVersion(given, last);
    if (greatest > last) this.#keepVersion.run(greatest);
    return greatest;
  }

  /** What was written last is committed. */
  committed(): void {
    if (this.#written === undefined) return;
    const { changes, chars, movedTo } = this.#written;
    this.#written = undefined;
    if (this.#moving !== undefined) this.#moving.at = movedTo;
    if (movedTo === this.#moving?.changes.length) {
      this.#moving = undefined;
      this.overlay.drop();
    }
    if (changes.length > 0) this.#take(this.#last + 1, changes, chars);
    this.#age();
  }

  get #isFull(): boolean {
    return this.overlay.size >= this.#bounds.keys || this.#chars >= this.#bounds.chars;
  }

  #take(id: number, changes: readonly StateChange[], chars: number): void {
    this.#last = id;
    this.#chars += chars;
    this.overlay.add(changes);
  }

  /** Moves a slice, and returns how many of the generation are moved then. */
  #move(added: number): number {
    if (this.#moving === undefined) return 0;
    const { changes, at, upTo } = this.#moving;
    // A generation that is full already, because of a few large values for example, waits for nothing.
    const to = this.#isFull ? changes.length : Math.min(changes.length, at + Math.max(this.#bounds.slice, 2 * added));
    this.#table.write(changes.slice(at, to).filter((change) => !this.overlay.isRewritten(change)));
    if (to === changes.length) this.#trim.run(upTo);
    return to;
  }

  #age(): void {
    if (this.#moving !== undefined || !this.#isFull) return;
    this.#moving = { changes: this.overlay.age(), at: 0, upTo: this.#last };
    this.#chars = 0;
  }
}

const greatestVersion = (changes: readonly StateChange[], last: number): number => {
  let greatest = last;
  for (const { version, keep } of changes) if (keep !== true && version > greatest) greatest = version;
  return greatest;
};
