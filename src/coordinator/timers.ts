import type { Clock } from "../lib/clock.ts";
import { Heap } from "../lib/heap.ts";
import type { RunId } from "../lib/ids.ts";

// Below it, what is meaningless costs less than looking for it.
const SMALL = 1_000;

/**
 * The timers of the runs in memory, on one timer of the clock. A timer is not taken out at once: one that has become meaningless fires, and
 * the run machine finds that it has nothing to do, or it is dropped with all others of its kind when they may be the half of all.
 */
export class Timers {
  readonly #clock: Clock;
  readonly #fire: (run: RunId, seq: number) => void;
  readonly #isAwaited: (run: RunId, seq: number) => boolean;
  readonly #heap = new Heap<{ run: RunId; seq: number }>();
  #crowdedAt = SMALL;
  #nextAt = Number.POSITIVE_INFINITY;
  #cancel = () => {};

  /** @param isAwaited whether a timer that was armed still means anything */
  constructor(clock: Clock, fire: (run: RunId, seq: number) => void, isAwaited: (run: RunId, seq: number) => boolean) {
    this.#clock = clock;
    this.#fire = fire;
    this.#isAwaited = isAwaited;
  }

  get size(): number {
    return this.#heap.size;
  }

  arm(run: RunId, seq: number, dueAt: number): void {
    if (this.#heap.size >= this.#crowdedAt) this.#tidy();
    this.#heap.push(dueAt, { run, seq });
    this.#set();
  }

  /** Fires what is due. The clock's own timer may stand still while a machine sleeps; its time does not. */
  check(): void {
    const first = this.#heap.firstKey;
    if (first !== undefined && first <= this.#clock.now()) this.#expire();
  }

  stop(): void {
    this.#cancel();
  }

  #tidy(): void {
    const seen = new Set<string>();
    this.#heap.retain(({ run, seq }) => {
      const name = `${run}/${seq}`;
      if (seen.has(name) || !this.#isAwaited(run, seq)) return false;
      seen.add(name);
      return true;
    });
    this.#crowdedAt = Math.max(SMALL, 2 * this.#heap.size);
  }

  #set(): void {
    const first = this.#heap.firstKey;
    if (first === undefined || first >= this.#nextAt) return;
    this.#cancel();
    this.#nextAt = first;
    this.#cancel = this.#clock.after(first - this.#clock.now(), () => this.#expire());
  }

  #expire(): void {
    this.#nextAt = Number.POSITIVE_INFINITY;
    // The time is asked again for each: were the clock set back meanwhile, a timer that is armed again as too early would fire for ever.
    for (let due = this.#heap.firstKey; due !== undefined && due <= this.#clock.now(); due = this.#heap.firstKey) {
      const { run, seq } = this.#heap.pop() as { run: RunId; seq: number };
      this.#fire(run, seq);
    }
    this.#set();
  }
}
