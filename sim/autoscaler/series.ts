/** What a simulation looked like over time, for plots. */
export interface Point {
  readonly atS: number;
  readonly arrivalsPerS: number;
  readonly pods: number;
  readonly meanMs: number;
  readonly maxMs: number;
  readonly late: number;
}

const POINTS = 300;

interface Bucket {
  calls: number;
  late: number;
  sumMs: number;
  maxMs: number;
  pods: number;
}

/** Calls belong to the time at which they arrived. */
export class Series {
  readonly #spanMs: number;
  readonly #buckets: Bucket[];

  constructor(durationMs: number) {
    this.#spanMs = Math.max(1, durationMs / POINTS);
    this.#buckets = Array.from({ length: POINTS }, () => ({ calls: 0, late: 0, sumMs: 0, maxMs: 0, pods: 0 }));
  }

  call(arrivedAt: number, responseMs: number, isLate: boolean): void {
    const bucket = this.#at(arrivedAt);
    bucket.calls++;
    bucket.sumMs += responseMs;
    bucket.maxMs = Math.max(bucket.maxMs, responseMs);
    if (isLate) bucket.late++;
  }

  pods(at: number, count: number): void {
    const bucket = this.#at(at);
    bucket.pods = Math.max(bucket.pods, count);
  }

  points(): Point[] {
    return this.#buckets.map(({ calls, late, sumMs, maxMs, pods }, i) => ({
      atS: (i * this.#spanMs) / 1_000,
      arrivalsPerS: (calls / this.#spanMs) * 1_000,
      pods,
      meanMs: calls === 0 ? 0 : sumMs / calls,
      maxMs,
      late,
    }));
  }

  #at(time: number): Bucket {
    return this.#buckets[Math.min(POINTS - 1, Math.floor(time / this.#spanMs))]!;
  }
}
