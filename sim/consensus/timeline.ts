import { Heap } from "../../src/lib/heap.ts";

/** What a clock shows at the beginning of each simulation: Unix ms. */
export const EPOCH_MS = 1_700_000_000_000;

/** Virtual time: whatever happens is an entry, and the next entry happens at once. */
export class Timeline {
  readonly #heap = new Heap<() => void>();
  /** Milliseconds since the beginning, with fractions. */
  now = 0;

  after(delayMs: number, happen: () => void): void {
    this.#heap.push(this.now + Math.max(0, delayMs), happen);
  }

  /** Runs whatever happens until `untilMs`, or until `isOver` says so. */
  run(untilMs: number, isOver: () => boolean): void {
    for (;;) {
      const at = this.#heap.firstKey;
      if (at === undefined || at > untilMs) break;
      this.now = at;
      this.#heap.pop()!();
      if (isOver()) return;
    }
    this.now = Math.max(this.now, untilMs);
  }
}
