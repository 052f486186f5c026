/** Counts values in buckets that are 1 % wide, so that quantiles of millions of calls need no list of them. */
const STEP = Math.log(1.01);

export class Histogram {
  readonly #counts: number[] = [];
  #total = 0;

  add(value: number): void {
    const bucket = value < 0.01 ? 0 : 1 + Math.round(Math.log(value / 0.01) / STEP);
    while (this.#counts.length <= bucket) this.#counts.push(0);
    this.#counts[bucket]!++;
    this.#total++;
  }

  /** 0 when there is no value. */
  quantile(part: number): number {
    let left = Math.ceil(part * this.#total);
    if (left === 0) return 0;
    const bucket = this.#counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return bucket <= 0 ? 0 : 0.01 * Math.exp((bucket - 1) * STEP);
  }
}
