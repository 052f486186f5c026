import { compareUtf8 } from "../lib/utf8.ts";
import type { Space, StateChange } from "../protocol/state.ts";
import { composed } from "./state-changes.ts";

/** The changes of one space, and their keys in order as far as anybody has asked for that. */
interface Shelf {
  changes: Map<string, StateChange>;
  sorted: string[];
  unsorted: string[];
}

/** Changes of the state store by key: for each what all of its changes come to. */
export class StateLayer {
  readonly #shelves = new Map<Space, Shelf>();
  #size = 0;
  /** Whether any key has been given a time at which it ends. */
  isTimed = false;

  /** How many keys it has changes of. */
  get size(): number {
    return this.#size;
  }

  add(change: StateChange): void {
    const { changes, unsorted } = this.#shelf(change.space);
    const earlier = changes.get(change.key);
    if (earlier === undefined) {
      this.#size++;
      unsorted.push(change.key);
    }
    if (change.expiresAt !== undefined) this.isTimed = true;
    changes.set(change.key, composed(earlier, change));
  }

  get(space: Space, key: string): StateChange | undefined {
    return this.#shelves.get(space)?.changes.get(key);
  }

  /** All, by space and key. */
  *all(): Generator<StateChange> {
    for (const space of this.#shelves.keys()) yield* this.under(space, "", undefined);
  }

  /** Those whose keys begin with `prefix` and come after `after`, in their order. */
  *under(space: Space, prefix: string, after: string | undefined): Generator<StateChange> {
    const shelf = this.#shelves.get(space);
    if (shelf === undefined) return;
    const { changes } = shelf;
    const keys = inOrder(shelf);
    for (let at = firstAt(keys, prefix, after); at < keys.length; at++) {
      const key = keys[at]!;
      if (!key.startsWith(prefix)) return;
      yield changes.get(key)!;
    }
  }

  #shelf(space: Space): Shelf {
    const found = this.#shelves.get(space);
    if (found !== undefined) return found;
    const made: Shelf = { changes: new Map(), sorted: [], unsorted: [] };
    this.#shelves.set(space, made);
    return made;
  }
}

const inOrder = (shelf: Shelf): readonly string[] => {
  if (shelf.unsorted.length > 0) {
    // What is sorted already is a run that the sort of the whole only merges.
    shelf.sorted = [...shelf.sorted, ...shelf.unsorted.sort(compareUtf8)].sort(compareUtf8);
    shelf.unsorted = [];
  }
  return shelf.sorted;
};

/** Where the first key is that begins with `prefix`, or comes after that, and comes after `after`. */
const firstAt = (keys: readonly string[], prefix: string, after: string | undefined): number => {
  const isBefore = (key: string): boolean => compareUtf8(key, prefix) < 0 || (after !== undefined && compareUtf8(key, after) <= 0);
  let from = 0;
  for (let to = keys.length; from < to; ) {
    const middle = (from + to) >> 1;
    if (isBefore(keys[middle]!)) from = middle + 1;
    else to = middle;
  }
  return from;
};
