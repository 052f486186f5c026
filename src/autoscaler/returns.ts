/**
 * How long pods that aren't needed any more are kept, by how soon such pods were needed again before.
 *
 * Whether to keep a pod is the question whether to rent or to buy: kept for too long it costs what it idles, given up too early it costs its
 * next start, and the calls that are late until then. The time to keep it for is the one that would have cost least so far; before anything
 * has been learnt, all times until a return are taken as equally likely on a scale of doublings, and that there is none as more likely.
 * Serverless in the Wild (Shahrad et al., 2020) keeps idle functions by a histogram of the same kind.
 */

/** The pods above those of the next level were last needed then. */
interface Level {
  readonly pods: number;
  readonly at: number;
}

export interface Returns {
  /** From the most pods to the fewest, which are those of now. */
  readonly levels: readonly Level[];
  /** How many pods came back within each span; the last of them never did. */
  readonly came: readonly number[];
}

/** Each span ends here, in times of the shortest. */
const SPANS = [1, 2, 4, 8, 16, 32, 64] as const;
const LONGEST = SPANS[SPANS.length - 1]!;
/** Where in a span its returns are, about. */
const WITHIN = 0.75;
const PRIOR = 0.5;
/** Most pods that are given up were for a peak that doesn't come back. */
const PRIOR_NEVER = 6;
/** More than these count for no more than these, so that what is new counts too. */
const MOST_WEIGHT = 100;

export const returnsStart: Returns = { levels: [], came: [...SPANS.map(() => PRIOR), PRIOR_NEVER] };

/** `pods` are needed now. Returns sooner than `shortestMs` teach nothing, since pods are kept for that long anyway. */
export const observeReturns = (before: Returns, pods: number, at: number, shortestMs: number): Returns => {
  const latest = before.levels.at(-1);
  if (latest !== undefined && pods <= latest.pods && at - before.levels[0]!.at <= shortestMs * LONGEST) {
    const rest = pods === latest.pods ? before.levels.slice(0, -1) : before.levels;
    return { levels: [...rest, { pods, at }], came: before.came };
  }
  const came = [...before.came];
  let below = 0;
  const kept: Level[] = [];
  for (let i = before.levels.length - 1; i >= 0; i--) {
    const level = before.levels[i]!;
    const gapMs = at - level.at;
    const back = Math.min(level.pods, pods) - below;
    if (back > 0 && gapMs > shortestMs) came[spanOf(gapMs / shortestMs)]! += back;
    const gone = level.pods - Math.max(below, pods);
    if (gone > 0 && gapMs > shortestMs * LONGEST) came[SPANS.length]! += gone;
    else if (gone > 0) kept.push(level);
    below = Math.max(below, level.pods);
  }
  return { levels: [...kept.reverse(), { pods, at }], came: faded(came) };
};

const spanOf = (times: number): number => {
  const found = SPANS.findIndex((end) => times <= end);
  return found === -1 ? SPANS.length : found;
};

const faded = (came: readonly number[]): readonly number[] => {
  const sum = came.reduce((total, each) => total + each, 0);
  return sum <= MOST_WEIGHT ? came : came.map((each) => (each * MOST_WEIGHT) / sum);
};

/** For how long a pod is kept, when giving it up too early costs as much as `startCostS` seconds of a pod. */
export const keepMs = ({ came }: Returns, shortestMs: number, startCostS: number): number => {
  let best = shortestMs;
  let least = Number.POSITIVE_INFINITY;
  for (const end of SPANS) {
    const heldS = (end * shortestMs) / 1_000;
    let cost = 0;
    for (let i = 0; i < came.length; i++) {
      const gapS = ((SPANS[i] ?? Number.POSITIVE_INFINITY) * WITHIN * shortestMs) / 1_000;
      cost += came[i]! * (gapS <= heldS ? gapS : heldS + startCostS);
    }
    if (cost >= least) continue;
    least = cost;
    best = end * shortestMs;
  }
  return best;
};
