/** What a closed loop measured: how many per second, and how long each took. */
export interface LatencySummary {
  perSecond: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  maxMs: number;
  /** How many finished in the measured time. */
  count: number;
  elapsedMs: number;
}

export const summarize = (latenciesMs: readonly number[], elapsedMs: number): LatencySummary => {
  const sorted = Float64Array.from(latenciesMs).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return {
    perSecond: (sorted.length / elapsedMs) * 1_000,
    p50Ms: at(0.5),
    p90Ms: at(0.9),
    p99Ms: at(0.99),
    maxMs: sorted.at(-1) ?? Number.NaN,
    count: sorted.length,
    elapsedMs,
  };
};
