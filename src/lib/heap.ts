/** A binary min-heap ordered by `key`; equal keys leave in the order they came. */
export class Heap<T> {
  readonly #items: { key: number; order: number; value: T }[] = [];
  #order = 0;

  get size(): number {
    return this.#items.length;
  }

  /** The smallest key, or `undefined` when empty. */
  get firstKey(): number | undefined {
    return this.#items[0]?.key;
  }

  get first(): T | undefined {
    return this.#items[0]?.value;
  }

  push(key: number, value: T): void {
    const items = this.#items;
    let at = items.length;
    const item = { key, order: this.#order++, value };
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** Drops the values that `keep` refuses. */
  retain(keep: (value: T) => boolean): void {
    const kept = this.#items.filter(({ value }) => keep(value));
    // In order of their keys, items are a heap.
    kept.sort((a, b) => (before(a, b) ? -1 : 1));
    this.#items.length = 0;
    for (const item of kept) this.#items.push(item);
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top?.value;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++;
      if (!before(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top.value;
  }
}

const before = (a: { key: number; order: number }, b: { key: number; order: number }): boolean =>
  a.key < b.key || (a.key === b.key && a.order < b.order);
