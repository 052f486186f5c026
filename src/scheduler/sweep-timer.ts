import type { Clock } from "../lib/clock.ts";

/** A sweep that comes later than this tells that the platform stood still, and messages with it. */
export const LATE_MS = 50;
const LEAST_MS = 2;

/**
 * One timer for all that has a time: set to the earliest of them. A sweep that comes late spares what seems overdue, once: what pods have
 * said while this process stood still is yet to be read, and is looked at before anybody is judged.
 */
export class SweepTimer {
  readonly #clock: Clock;
  readonly #sweep: (now: number, isSpared: boolean) => number;
  #nextAt = Number.POSITIVE_INFINITY;
  #wasSpared = false;
  #cancel = () => {};

  /** @param sweep gives the time at which it must be called again, infinity for none */
  constructor(clock: Clock, sweep: (now: number, isSpared: boolean) => number) {
    this.#clock = clock;
    this.#sweep = sweep;
  }

  /** Sweeps at this time (Unix ms), or before. */
  at(time: number): void {
    if (time >= this.#nextAt) return;
    this.#cancel();
    this.#nextAt = time;
    this.#cancel = this.#clock.after(time - this.#clock.now(), () => this.#due());
  }

  stop(): void {
    this.#cancel();
  }

  #due(): void {
    const now = this.#clock.now();
    const isLate = now - this.#nextAt > LATE_MS;
    const isSpared = isLate && !this.#wasSpared;
    this.#wasSpared = isSpared;
    this.#nextAt = Number.POSITIVE_INFINITY;
    const next = this.#sweep(now, isSpared);
    if (next !== Number.POSITIVE_INFINITY) this.at(Math.max(next, now + LEAST_MS));
  }
}
