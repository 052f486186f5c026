const SET_BACK_MS = 1_000;
/** Ten additions of 0.1 are less than 1. What is lent so is taken off the next. */
const ONE = 1 - 1e-9;

/** A token bucket: how often a function's attempts may begin, over all its versions. */
export class Pace {
  #perSecond: number;
  #tokens: number;
  #at = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#tokens = this.#burst;
  }

  /** Another version may want another pace; what was saved up stays, as far as the new burst holds it. */
  set(perSecond: number): void {
    this.#perSecond = perSecond;
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  allows(now: number): boolean {
    this.#refill(now);
    return this.#tokens >= ONE;
  }

  /** Counts an attempt that begins. */
  spend(now: number): void {
    this.#refill(now);
    this.#tokens--;
  }

  /** When the next attempt may begin: at a whole millisecond, as clocks tell no less. */
  nextAt(now: number): number {
    if (this.allows(now)) return now;
    return now + Math.max(1, Math.ceil(((1 - this.#tokens) * 1_000) / this.#perSecond));
  }

  /** What one second gives, but never less than one attempt: a bucket that holds half of one would let none begin. */
  get #burst(): number {
    return Math.max(1, this.#perSecond);
  }

  #refill(now: number): void {
    const elapsedMs = now - this.#at;
    // When the clock was set back, time counts from where it is now: else nothing would begin until it is where it was. Less than a second is
    // a caller that learnt the time before another one did, and must not be counted twice.
    if (elapsedMs <= 0 && elapsedMs > -SET_BACK_MS) return;
    this.#at = now;
    if (elapsedMs > 0) this.#tokens = Math.min(this.#burst, this.#tokens + (elapsedMs * this.#perSecond) / 1_000);
  }
}
