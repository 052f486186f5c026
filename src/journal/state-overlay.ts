/**
 * What the log of the state store says and its table does not yet (sqlite-state-log.ts).
 *
 * Owns: changes by key, in two generations: the young one takes what is committed, the old one is being moved into the table. Does not own:
 * the log, the table, or when they change.
 *
 * O1  A key's row is what the table has, then what the old generation makes of it, then the young one. Moving a change of the old one into
 *     the table changes nothing of that.
 */
import type { Space, StateChange } from "../protocol/state.ts";
import { paired } from "./paired.ts";
import { composed, isWhole, rowAfter } from "./state-changes.ts";
import { StateLayer } from "./state-layer.ts";

export class StateOverlay {
  #young = new StateLayer();
  #old: StateLayer | undefined;

  /** Keys of the young generation. */
  get size(): number {
    return this.#young.size;
  }

  add(changes: readonly StateChange[]): void {
    for (const change of changes) this.#young.add(change);
  }

  /** What the key's changes come to. */
  get(space: Space, key: string): StateChange | undefined {
    const young = this.#young.get(space, key);
    if (this.#old === undefined || isWhole(young)) return young;
    const old = this.#old.get(space, key);
    return young === undefined ? old : composed(old, young);
  }

  /** The same for all keys that begin with `prefix` and come after `after`, in their order. */
  *under(space: Space, prefix: string, after: string | undefined): Generator<StateChange> {
    const old = this.#old?.under(space, prefix, after) ?? [];
    for (const [earlier, change] of paired(old, this.#young.under(space, prefix, after))) {
      if (earlier === undefined) yield change;
      else yield change === undefined ? earlier : composed(earlier, change);
    }
  }

  /** The same for all keys, in no order. */
  *all(): Generator<StateChange> {
    for (const change of this.#old?.all() ?? []) if (this.#young.get(change.space, change.key) === undefined) yield change;
    for (const { space, key } of this.#young.all()) yield this.get(space, key) as StateChange;
  }

  /** Keys whose time, as changes have set it, is over at `now`, in no order. */
  *expired(now: number): Generator<StateChange> {
    // The sweep asks every second, and most have no such keys.
    if (!this.#young.isTimed && this.#old?.isTimed !== true) return;
    for (const change of this.all()) {
      const isOver = isWhole(change) && change.expiresAt !== undefined && change.expiresAt <= now;
      if (isOver && rowAfter(undefined, change) !== undefined) yield change;
    }
  }

  /** Begins a new generation. Gives the changes of the one that is old now, in the order in which rows are best written. */
  age(): readonly StateChange[] {
    this.#old = this.#young;
    this.#young = new StateLayer();
    // Neighbours in the index, and often in the table as well, share pages.
    return [...this.#old.all()];
  }

  /** Whether the young generation writes the key's row anew, so that an old change of it need not be moved. */
  isRewritten({ space, key }: StateChange): boolean {
    return isWhole(this.#young.get(space, key));
  }

  /** All of the old generation is in the table. */
  drop(): void {
    this.#old = undefined;
  }
}
