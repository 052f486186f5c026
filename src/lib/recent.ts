/**
 * What was used last, within a bound of its weight.
 *
 * Two generations: what is used is in the young one, or moves there; when that has half of the weight, the old one is dropped and the young
 * one grows old. So a look costs no more than one in a `Map`, and what was not used while half of the weight passed by is gone.
 */
export class Recent<V> {
  readonly #half: number;
  readonly #weigh: (key: string, value: V) => number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #weight = 0;

  /** @param most the weight of all that is kept */
  constructor(most: number, weigh: (key: string, value: V) => number) {
    this.#half = most / 2;
    this.#weigh = weigh;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  /** What is heavier than half of all is not kept. */
  set(key: string, value: V): void {
    const before = this.#young.get(key);
    if (before !== undefined) this.#weight -= this.#weigh(key, before);
    const weight = this.#weigh(key, value);
    if (this.#weight + weight > this.#half) this.#age();
    this.#old.delete(key);
    if (weight > this.#half) return;
    this.#weight += weight;
    this.#young.set(key, value);
  }

  #age(): void {
    this.#old = this.#young;
    this.#young = new Map();
    this.#weight = 0;
  }
}
