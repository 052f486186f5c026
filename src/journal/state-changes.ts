import type { StateChange, StateEntry } from "../protocol/state.ts";

/** What the changes of one commit come to: one for each key. */
export const lastChanges = (changes: readonly StateChange[]): readonly StateChange[] => {
  if (changes.length < 2) return changes;
  const last = new Map<string, StateChange>();
  for (const change of changes) {
    const key = `${change.space}\0${change.key}`;
    last.set(key, composed(last.get(key), change));
  }
  return [...last.values()];
};

/** What two changes of a key come to: the later one, or, when that is a mark (`keep`), the earlier one with that mark. */
export const composed = (earlier: StateChange | undefined, later: StateChange): StateChange => {
  if (earlier === undefined || later.keep !== true) return later;
  const { stale, expiresAt, ...rest } = earlier;
  const both: StateChange = rest;
  // Of a row that has gone nothing comes back.
  if (expiresAt !== undefined && (rest.value !== undefined || stale !== undefined)) both.expiresAt = expiresAt;
  if (later.stale !== undefined) both.stale = later.stale;
  return both;
};

/** Whether it says all of the row, and not only whether it is stale. */
export const isWhole = (change: StateChange | undefined): boolean => change !== undefined && change.keep !== true;

/** The row as this change leaves it; `undefined` when it goes. */
export const rowAfter = (row: StateEntry | undefined, change: StateChange): StateEntry | undefined => {
  const kept = change.keep === true ? row : change;
  const { key, stale } = change;
  const after: StateEntry = { key, value: kept?.value ?? "", version: kept?.value === undefined ? 0 : kept.version };
  if (stale !== undefined) after.stale = stale;
  if (kept?.expiresAt !== undefined) after.expiresAt = kept.expiresAt;
  return after.version === 0 && stale === undefined ? undefined : after;
};
