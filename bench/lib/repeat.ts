/** Interleaves contenders, so that whatever drifts on the machine meets all of them alike, and sums their repetitions up. */
export interface Contestant<T> {
  name: string;
  measure: () => Promise<T>;
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export type Outcome<T> = { results: T[]; failure?: string };

/**
 * Measures A B C A B C … `repetitions` times. A contestant that throws is not measured again; its failure is part of the outcome, so that
 * one broken contender does not cost the figures of the others.
 */
export const interleave = async <T>(
  contestants: Contestant<T>[],
  repetitions: number,
  onResult: (name: string, repetition: number, result: T | Error) => void = () => undefined,
): Promise<Map<string, Outcome<T>>> => {
  const outcomes = new Map<string, Outcome<T>>(contestants.map(({ name }) => [name, { results: [] }]));
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const { name, measure } of contestants) {
      const outcome = outcomes.get(name) as Outcome<T>;
      if (outcome.failure !== undefined) continue;
      try {
        const result = await measure();
        outcome.results.push(result);
        onResult(name, repetition, result);
      } catch (error) {
        outcome.failure = (error as Error).message;
        onResult(name, repetition, error as Error);
      }
    }
  }
  return outcomes;
};

/** The middle value; of an even number, the mean of the middle two. NaN for none. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return sorted.length === 0 ? Number.NaN : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

/**
 * Between which values the median of all that could be measured lies with a certainty of 95 %, whatever their distribution: two of the values
 * themselves, as far from the middle as chance takes it. Infinite for fewer than 6.
 */
export const medianBounds = (values: readonly number[]): [least: number, most: number] => {
  const rank = Math.floor((values.length - 1.96 * Math.sqrt(values.length)) / 2);
  if (rank < 0 || values.length < 6) return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const sorted = [...values].sort((a, b) => a - b);
  return [sorted[rank] as number, sorted[sorted.length - 1 - rank] as number];
};

export const spread = (values: readonly number[]): Spread => ({
  median: median(values),
  min: values.length === 0 ? Number.NaN : Math.min(...values),
  max: values.length === 0 ? Number.NaN : Math.max(...values),
});

export const spreadOf = <T>(results: readonly T[], figure: (result: T) => number): Spread => spread(results.map(figure));
