import type { StateChange, StateEntry } from "../protocol/state.ts";

/**
 * What the changes of one commit come to: one for each key, the last. A mark (`keep`) after another change of its key is made in that one.
 */
export const lastChanges = (changes: readonly StateChange[]): readonly StateChange[] => {
  if (changes.length < 2) return changes;
  const last = new Map<string, StateChange>();
  for (const change of changes) {
    const key = `${change.space}\0${change.key}`;
    const earlier = last.get(key);
    last.set(key, earlier === undefined || change.keep !== true ? change : marked(earlier, change));
  }
  return [...last.values()];
};

const marked = ({ stale: _, ...change }: StateChange, { stale }: StateChange): StateChange =>
  stale === undefined ? change : { ...change, stale };

/** The row as this change leaves it; `undefined` when it goes. */
export const rowAfter = (row: StateEntry | undefined, change: StateChange): StateEntry | undefined => {
  const kept = change.keep === true ? row : change;
  const { key, stale } = change;
  const after: StateEntry = { key, value: kept?.value ?? "", version: kept?.value === undefined ? 0 : kept.version };
  if (stale !== undefined) after.stale = stale;
  if (kept?.expiresAt !== undefined) after.expiresAt = kept.expiresAt;
  return after.version === 0 && stale === undefined ? undefined : after;
};
