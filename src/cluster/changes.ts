/**
 * What has changed of things that are looked at from time to time, so that a watcher which was away goes on where it was (pure).
 *
 * Of each thing only the last change is kept: a watcher that comes back is told how it is now, and not how it came to be so.
 *
 * C1  Whoever knows all up to a position, and applies what `after` gives, knows how things are: nothing is missing, nothing is there that isn't.
 *     A thing that was gone and is there again is `added` also to who has not heard that it was gone, and the other way round.
 * C2  Positions only grow, also over lives: they begin at `base`, which is above all of an earlier life.
 * C3  Of things that are gone, the last 1,000 are remembered. A watcher that is further behind, or of another life, is told to begin anew.
 */
import type { Change } from "../protocol/cluster.ts";

interface Row<Item> {
  item: Item;
  /** By which it is known whether it has changed. */
  text: string;
  addedAt: number;
  /** When there was one of this name for the first time: who knows no more than that has never heard of it. */
  firstAt: number;
  position: number;
  isGone: boolean;
}

const MOST_GONE = 1_000;

export class Changes<Field extends string, Item> {
  readonly #field: Field;
  /** In the order of their positions. */
  readonly #rows = new Map<string, Row<Item>>();
  #gone = 0;
  #position: number;
  /** Whoever knows less begins anew. */
  #resetAt: number;

  constructor(field: Field, base: number) {
    this.#field = field;
    this.#resetAt = base + 1;
    this.#position = this.#resetAt;
  }

  get position(): number {
    return this.#position;
  }

  /** Takes in all that there is, and returns what is different from before. @param textOf what makes an item another one */
  update(now: ReadonlyMap<string, Item>, textOf: (item: Item) => string): Change<Field, Item>[] {
    if (this.#gone > MOST_GONE) this.#compact();
    const since = this.#position;
    for (const [key, row] of [...this.#rows]) if (!row.isGone && !now.has(key)) this.#remove(key, row);
    for (const [key, item] of now) this.#put(key, item, textOf(item));
    return since === this.#position ? [] : this.after(since);
  }

  /** What to tell whoever knows all up to a position, in the order of positions: all of it, as a part would leave out what has moved on. */
  after(position: number): Change<Field, Item>[] {
    const isNew = position < this.#resetAt || position > this.#position;
    const from = isNew ? this.#resetAt : position;
    const told: Change<Field, Item>[] = isNew ? [{ position: this.#resetAt, type: "reset" }] : [];
    for (const row of this.#rows.values()) {
      if (row.position <= from || (row.isGone && row.firstAt > from)) continue;
      told.push(this.#changeOf(row, row.isGone ? "deleted" : row.addedAt > from ? "added" : "modified"));
    }
    return told;
  }

  #changeOf({ position, item }: Row<Item>, type: "added" | "modified" | "deleted"): Change<Field, Item> {
    return { position, type, [this.#field]: item } as Change<Field, Item>;
  }

  #put(key: string, item: Item, text: string): void {
    const row = this.#rows.get(key);
    if (row !== undefined && !row.isGone && row.text === text) {
      // What doesn't count is shown as it is all the same.
      row.item = item;
      return;
    }
    const position = ++this.#position;
    const addedAt = row === undefined || row.isGone ? position : row.addedAt;
    if (row?.isGone) this.#gone--;
    this.#place(key, { item, text, addedAt, firstAt: row?.firstAt ?? position, position, isGone: false });
  }

  #remove(key: string, row: Row<Item>): void {
    this.#gone++;
    this.#place(key, { ...row, position: ++this.#position, isGone: true });
  }

  #place(key: string, row: Row<Item>): void {
    this.#rows.delete(key);
    this.#rows.set(key, row);
  }

  /** C3. Those who listen read it anew too, as their next change does not follow on what they know. */
  #compact(): void {
    this.#resetAt = ++this.#position;
    for (const [key, row] of [...this.#rows]) {
      if (row.isGone) this.#rows.delete(key);
      else {
        row.position = ++this.#position;
        row.addedAt = row.position;
        row.firstAt = row.position;
      }
    }
    this.#gone = 0;
  }
}
