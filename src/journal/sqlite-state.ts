/**
 * The rows of the state store as they are read: those of the table `state`, under what is only in the log yet (sqlite-state-log.ts).
 */
import type { DatabaseSync } from "node:sqlite";
import { compareUtf8 } from "../lib/utf8.ts";
import type { Space, Staleness, StateEntry } from "../protocol/state.ts";
import { paired } from "./paired.ts";
import type { StateRows } from "./port.ts";
import { unavailable } from "./sqlite-errors.ts";
import { prepareAll, STATE_SQL, type Statements } from "./sqlite-queries.ts";
import { isWhole, rowAfter } from "./state-changes.ts";
import type { StateOverlay } from "./state-overlay.ts";

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
  readonly #overlay: StateOverlay;
  readonly #lastVersion: () => number;

  constructor(db: DatabaseSync, overlay: StateOverlay, lastVersion: () => number) {
    this.#statements = prepareAll(db, STATE_SQL);
    this.#overlay = overlay;
    this.#lastVersion = lastVersion;
  }

  get lastVersion(): number {
    return this.#lastVersion();
  }

  async get(space: Space, key: string): Promise<StateEntry | undefined> {
    return read(() => this.#get(space, key));
  }

  async list(space: Space, prefix: string, limit: number, after?: string): Promise<StateEntry[]> {
    return read(() => this.#list(space, prefix, limit, after));
  }

  async stale(): Promise<(StateEntry & { space: Space })[]> {
    const found = read(() => [...this.#staleInTable(), ...this.#staleInLog()]);
    return found.sort((a, b) => compareUtf8(a.space, b.space) || compareUtf8(a.key, b.key));
  }

  async expired(now: number, limit: number): Promise<{ space: Space; key: string }[]> {
    const found = read(() => [...this.#overlay.expired(now), ...this.#expiredInTable(now, limit)]);
    found.sort((a, b) => (a.expiresAt ?? 0) - (b.expiresAt ?? 0));
    return found.slice(0, limit).map(({ space, key }) => ({ space, key }));
  }

  #get(space: Space, key: string): StateEntry | undefined {
    const change = this.#overlay.get(space, key);
    if (change !== undefined && isWhole(change)) return rowAfter(undefined, change);
    const row = this.#statements.get.get(space, key) as StateRow | undefined;
    const entry = row === undefined ? undefined : entryOf(row);
    return change === undefined ? entry : rowAfter(entry, change);
  }

  #list(space: Space, prefix: string, limit: number, after: string | undefined): StateEntry[] {
    const entries: StateEntry[] = [];
    if (limit < 1) return entries;
    const changes = this.#overlay.under(space, prefix, after);
    for (const [row, change] of paired(this.#under(space, prefix, after), changes)) {
      const entry = change === undefined ? row : rowAfter(row, change);
      if (entry !== undefined) entries.push(entry);
      if (entries.length === limit) break;
    }
    return entries;
  }

  *#under(space: Space, prefix: string, after: string | undefined): Generator<StateEntry> {
    const first = after === undefined || compareUtf8(after, prefix) < 0 ? prefix : after;
    for (const row of this.#statements.from.iterate(space, first)) {
      const { key } = row as { key: string };
      if (key === after) continue;
      if (!key.startsWith(prefix)) return;
      yield entryOf(row as unknown as StateRow);
    }
  }

  *#staleInTable(): Generator<StateEntry & { space: Space }> {
    for (const row of this.#statements.stale.iterate()) {
      const space = row.space as Space;
      if (this.#overlay.get(space, row.key as string) === undefined) yield { space, ...entryOf(row as unknown as StateRow) };
    }
  }

  *#staleInLog(): Generator<StateEntry & { space: Space }> {
    for (const { space, key, stale } of this.#overlay.all()) {
      const entry = stale === undefined ? undefined : this.#get(space, key);
      if (entry !== undefined) yield { space, ...entry };
    }
  }

  *#expiredInTable(now: number, limit: number): Generator<{ space: Space; key: string; expiresAt: number }> {
    let left = limit;
    for (const row of this.#statements.expired.iterate(now)) {
      if (left === 0) return;
      const { space, key, expires_at: expiresAt } = row as { space: Space; key: string; expires_at: number };
      const change = this.#overlay.get(space, key);
      // What is only stale is gone as soon as it isn't any more.
      if (isWhole(change) || (change !== undefined && this.#get(space, key) === undefined)) continue;
      left--;
      yield { space, key, expiresAt };
    }
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
