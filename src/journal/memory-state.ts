import { compareUtf8 } from "../lib/utf8.ts";
import type { Space, StateChange, StateEntry } from "../protocol/state.ts";
import type { StateRows } from "./port.ts";
import { lastChanges, rowAfter } from "./state-changes.ts";

export interface StateStore {
  lastVersion: number;
  spaces: Map<Space, Map<string, StateEntry>>;
}

export const emptyState = (): StateStore => ({ lastVersion: 0, spaces: new Map() });

/** @param changes are the store's from now on */
export const applyState = (store: StateStore, changes: readonly StateChange[]): void => {
  for (const { version, keep } of changes) if (keep !== true) store.lastVersion = Math.max(store.lastVersion, version);
  for (const change of lastChanges(changes)) {
    const rows = store.spaces.get(change.space) ?? new Map<string, StateEntry>();
    store.spaces.set(change.space, rows);
    const row = rowAfter(rows.get(change.key), change);
    if (row === undefined) rows.delete(change.key);
    else rows.set(change.key, row);
  }
};

/** The state store's rows in memory. What is given out is a copy. */
export class MemoryState implements StateRows {
  readonly #store: () => StateStore;

  /** @param store gives the rows, or throws when they may not be read any more */
  constructor(store: () => StateStore) {
    this.#store = store;
  }

  get lastVersion(): number {
    return this.#store().lastVersion;
  }

  async get(space: Space, key: string): Promise<StateEntry | undefined> {
    const row = this.#store().spaces.get(space)?.get(key);
    return row === undefined ? undefined : structuredClone(row);
  }

  async list(space: Space, prefix: string, limit: number, after?: string): Promise<StateEntry[]> {
    const rows = [...(this.#store().spaces.get(space)?.values() ?? [])];
    const found = rows.filter(({ key }) => key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0));
    found.sort((a, b) => compareUtf8(a.key, b.key));
    return structuredClone(found.slice(0, Math.max(0, limit)));
  }

  async stale(): Promise<(StateEntry & { space: Space })[]> {
    const found = this.#all().filter(({ stale }) => stale !== undefined);
    return structuredClone(found.sort((a, b) => compareUtf8(a.space, b.space) || compareUtf8(a.key, b.key)));
  }

  async expired(now: number, limit: number): Promise<{ space: Space; key: string }[]> {
    const found = this.#all().filter(({ expiresAt }) => expiresAt !== undefined && expiresAt <= now);
    found.sort((a, b) => (a.expiresAt ?? 0) - (b.expiresAt ?? 0));
    return found.slice(0, limit).map(({ space, key }) => ({ space, key }));
  }

  #all(): (StateEntry & { space: Space })[] {
    return [...this.#store().spaces].flatMap(([space, rows]) => [...rows.values()].map((row) => ({ space, ...row })));
  }
}
