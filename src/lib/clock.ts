/**
 * The only seam through which Lockstep learns the time. Services take a `Clock`; machines take `now` as data.
 */
export interface Clock {
  /** Wall-clock time in milliseconds since the Unix epoch. */
  now(): number;
  /**
   * Runs `callback` once after `delayMs` (clamped to at least 0); returns what cancels it. `upkeep` marks a timer that is set again and again
   * only to look whether something needs doing: while nothing happens, a clock that a test moves may pass over it.
   */
  after(delayMs: number, callback: () => void, kind?: "upkeep"): () => void;
  /** Runs `callback` at the end of this turn of the event loop, once everything that has already arrived was handled. */
  endOfTurn(callback: () => void): void;
}

// A longer delay overflows the 32-bit timer of Node and would fire at once.
const LONGEST_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
  endOfTurn: (callback) => void setImmediate(callback),
};
