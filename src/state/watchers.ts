import { ChurnMap } from "../lib/churn-map.ts";
import type { Transaction } from "./transaction.ts";

const NOBODY: readonly Transaction[] = [];

/** Which open transactions have read which keys of one space. */
export class Watchers {
  // Nearly every key has one reader at a time, who needs no set.
  readonly #byKey = new ChurnMap<string, Transaction | Set<Transaction>>();

  /** How many keys are watched. */
  get size(): number {
    return this.#byKey.size;
  }

  of(key: string): Iterable<Transaction> {
    const watching = this.#byKey.get(key);
    if (watching === undefined) return NOBODY;
    return watching instanceof Set ? watching : [watching];
  }

  /** Whether the transaction did not watch the key before. */
  add(key: string, tx: Transaction): boolean {
    const watching = this.#byKey.get(key);
    if (watching === tx) return false;
    if (watching === undefined) this.#byKey.set(key, tx);
    else if (!(watching instanceof Set)) this.#byKey.set(key, new Set([watching, tx]));
    else if (watching.has(tx)) return false;
    else watching.add(tx);
    return true;
  }

  delete(key: string, tx: Transaction): void {
    const watching = this.#byKey.get(key);
    if (watching instanceof Set) {
      watching.delete(tx);
      if (watching.size === 0) this.#byKey.delete(key);
    } else if (watching === tx) this.#byKey.delete(key);
  }
}
