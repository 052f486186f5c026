/**
 * How many warm pods there should be (pure): as many as were taken within the time that replacing them needs, at the worst moment of the last
 * minutes, or as are expected now; within a budget of memory.
 *
 * Owns: the recent takes. Does not own: pods.
 */
export interface WarmPoolOptions {
  /** Whatever demand and memory say. */
  min: number;
  max: number;
  /** What all of them may occupy. */
  memoryMb: number;
}

/** A pod that was taken is replaced within two of these. */
const BUCKET_MS = 1_000;
const WINDOW_MS = 180_000;
/** An expectation that has not come true by then is forgotten. */
const EXPECTED_MS = 5_000;

export class WarmPool {
  readonly #options: WarmPoolOptions;
  /** Takes by second, the oldest first. */
  readonly #takes = new Map<number, number>();
  #expected = 0;
  #expectedUntil = 0;

  constructor(options: WarmPoolOptions) {
    this.#options = options;
  }

  /** A pod was taken, or would have been had there been one. */
  taken(now: number): void {
    const bucket = Math.floor(now / BUCKET_MS);
    this.#takes.set(bucket, (this.#takes.get(bucket) ?? 0) + 1);
  }

  /** So many will probably be taken at once, soon. */
  expect(count: number, now: number, forMs = EXPECTED_MS): void {
    this.#expected = now < this.#expectedUntil ? Math.max(this.#expected, count) : count;
    this.#expectedUntil = Math.max(this.#expectedUntil, now + forMs);
  }

  /** @param podMb what one of them occupies */
  target(now: number, podMb: number): number {
    const { min, max, memoryMb } = this.#options;
    const affordable = Math.floor(memoryMb / Math.max(1, podMb));
    const wanted = Math.max(this.#peak(now), now < this.#expectedUntil ? this.#expected : 0);
    return Math.max(min, Math.min(wanted, max, affordable));
  }

  /** The most that were taken within two seconds in a row. */
  #peak(now: number): number {
    const oldest = Math.floor((now - WINDOW_MS) / BUCKET_MS);
    let peak = 0;
    for (const [bucket, count] of this.#takes) {
      if (bucket < oldest) this.#takes.delete(bucket);
      else peak = Math.max(peak, count + (this.#takes.get(bucket + 1) ?? 0));
    }
    return peak;
  }
}
