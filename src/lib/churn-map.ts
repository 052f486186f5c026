/** Entries are moved after so many writes, and twice as many as there are entries: moving costs less than a write does, on average. */
const LEAST_WRITES = 64;

/**
 * A map for what comes and goes all the time, such as calls that are under way.
 *
 * A `Map` whose entries change needs a new table every so often, and V8 links each table that it leaves to the next one. As soon as one of
 * these has grown old, all that follow it stay alive until the next full collection, with whatever was in them: a sixth of all that a busy
 * platform allocated was copied by the collector, twice, before it was found to be garbage. Here entries are moved into a new `Map` now and
 * then, to which nothing leads from the old one.
 */
export class ChurnMap<K, V> {
  #map = new Map<K, V>();
  #writes = 0;

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  set(key: K, value: V): void {
    if (++this.#writes > LEAST_WRITES + 2 * this.#map.size) {
      this.#map = new Map(this.#map);
      this.#writes = 0;
    }
    this.#map.set(key, value);
  }

  delete(key: K): boolean {
    return this.#map.delete(key);
  }

  /** In the order in which the keys were first set. What goes meanwhile is left out, what comes may be. */
  *[Symbol.iterator](): Generator<[K, V]> {
    const map = this.#map;
    for (const [key, value] of map) {
      // Once the entries have been moved, what is gone is still in the map that they were in.
      if (map === this.#map) yield [key, value];
      else if (this.#map.has(key)) yield [key, this.#map.get(key) as V];
    }
  }

  *values(): Generator<V> {
    for (const [, value] of this) yield value;
  }
}
