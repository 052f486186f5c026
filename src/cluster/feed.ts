/**
 * Pods or services as they change, for those who watch.
 *
 * Owns: when it is looked, and who is told. Does not own: what has changed (changes), what there is.
 *
 * Nobody watches, nobody looks: it costs nothing then, and the first to come is told what has changed in between.
 */
import type { Clock } from "../lib/clock.ts";
import type { Change, ChangeFeed } from "../protocol/cluster.ts";
import { Changes } from "./changes.ts";

export interface FeedParts<Field extends string, Item> {
  field: Field;
  /** Above all positions of earlier lives. */
  base: number;
  clock: Clock;
  list(): Item[];
  keyOf(item: Item): string;
  textOf(item: Item): string;
  /** Tells when it is worth a look at once. */
  hints?(look: () => void): () => void;
}

/** So late is a change noticed of which there is no hint. */
const LOOK_MS = 100;

type Listener<T> = (changes: readonly T[]) => void;

export class Feed<Field extends string, Item> implements ChangeFeed<Change<Field, Item>> {
  readonly #parts: FeedParts<Field, Item>;
  readonly #changes: Changes<Field, Item>;
  readonly #listeners = new Set<Listener<Change<Field, Item>>>();
  #stop = () => {};
  #isHinted = false;

  constructor(parts: FeedParts<Field, Item>) {
    this.#parts = parts;
    this.#changes = new Changes(parts.field, parts.base);
  }

  async events(after: number): Promise<Change<Field, Item>[]> {
    this.#look();
    return this.#changes.after(after);
  }

  position(): number {
    return this.#changes.position;
  }

  onEvents(listener: Listener<Change<Field, Item>>): () => void {
    // A function of its own: the same one may listen twice.
    const told: Listener<Change<Field, Item>> = (changes) => listener(changes);
    this.#listeners.add(told);
    if (this.#listeners.size === 1) this.#start();
    return () => {
      if (this.#listeners.delete(told) && this.#listeners.size === 0) this.#stop();
    };
  }

  #start(): void {
    const { clock, hints } = this.#parts;
    let cancel = () => {};
    const again = (): void => {
      cancel = clock.after(
        LOOK_MS,
        () => {
          this.#look();
          again();
        },
        "upkeep",
      );
    };
    const end = hints?.(() => this.#hinted());
    this.#stop = () => {
      cancel();
      end?.();
      this.#stop = () => {};
    };
    again();
  }

  /** Many hints of one turn are one look. */
  #hinted(): void {
    if (this.#isHinted) return;
    this.#isHinted = true;
    this.#parts.clock.endOfTurn(() => {
      this.#isHinted = false;
      if (this.#listeners.size > 0) this.#look();
    });
  }

  #look(): void {
    const { list, keyOf, textOf } = this.#parts;
    const changes = this.#changes.update(new Map(list().map((item) => [keyOf(item), item])), textOf);
    if (changes.length > 0) for (const told of [...this.#listeners]) told(changes);
  }
}
