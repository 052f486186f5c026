import type { Clock } from "../lib/clock.ts";
import { Heap } from "../lib/heap.ts";
import type { RunId } from "../lib/ids.ts";

/**
 * The timers of the runs in memory, on one timer of the clock. A timer is never taken out: one that has become meaningless fires, and the
 * run machine finds that it has nothing to do.
 */
export class Timers {
  readonly #clock: Clock;
  readonly #fire: (run: RunId, seq: number) => void;
  readonly #heap = new Heap<{ run: RunId; seq: number }>();
  #nextAt = Number.POSITIVE_INFINITY;
  #cancel = () => {};

  constructor(clock: Clock, fire: (run: RunId, seq: number) => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  arm(run: RunId, seq: number, dueAt: number): void {
    this.#heap.push(dueAt, { run, seq });
    this.#set();
  }

  stop(): void {
    this.#cancel();
  }

  #set(): void {
    const first = this.#heap.firstKey;
    if (first === undefined || first >= this.#nextAt) return;
    this.#cancel();
    this.#nextAt = first;
    this.#cancel = this.#clock.after(first - this.#clock.now(), () => this.#expire());
  }

  #expire(): void {
    const now = this.#clock.now();
    this.#nextAt = Number.POSITIVE_INFINITY;
    for (let due = this.#heap.firstKey; due !== undefined && due <= now; due = this.#heap.firstKey) {
      const { run, seq } = this.#heap.pop() as { run: RunId; seq: number };
      this.#fire(run, seq);
    }
    this.#set();
  }
}
