/**
 * How many calls per second arrive, and where that is going: a Kalman filter on level and trend.
 *
 * A1  A measurement far off what is expected is believed at once, since a step must not be waited for, but on probation: when the next one
 *     fits what was believed before, that comes back.
 * A2  Errors that stay on one side are the rate's movement and not noise: uncertainty is let in, and the filter follows faster.
 * A3  Level and forecast are never negative.
 */
import type { Estimate, Innovation } from "./kalman.ts";
import { innovation, update } from "./kalman.ts";

export interface Arrivals {
  /** `a` calls per second, growing by `b` per second each second. */
  readonly rate: Estimate;
  /** How much more the counts scatter than those of a Poisson process do; at least 1. */
  readonly scatter: number;
  /** The last measurement. */
  readonly measured: number;
  /** The mean of about the last second. */
  readonly recent: number;
  /** A moving mean of errors, in standard deviations: 0 as long as the filter keeps up. */
  readonly bias: number;
  /** What was believed before the last outlier, while that is on probation. */
  readonly before: Estimate | undefined;
}

const START: Estimate = { a: 0, b: 0, varA: 1, cov: 0, varB: 0.01 };

export const arrivalsStart: Arrivals = { rate: START, scatter: 1, measured: 0, recent: 0, bias: 0, before: undefined };

/** Standard deviations that make an outlier. */
const GATE = 4;
/** How the level wanders within a second, and the trend: as parts of the level. */
const LEVEL_DRIFT = 0.01;
const TREND_DRIFT = 0.003;
const LEAST_DRIFT = 0.02;
const SCATTER_MEMORY = 0.02;
const MOST_SCATTER = 9;
/** How long a trend goes on. */
const TREND_S = 20;
/** Errors on one side: how many are looked at (1 / memory), and how many standard deviations of their mean are too many. */
const BIAS_MEMORY = 0.2;
const BIAS_GATE = 2.5;
const BIAS_DEVIATION = Math.sqrt(BIAS_MEMORY / (2 - BIAS_MEMORY));
const UNCERTAINTY = 3;
const RECENT_S = 1;

/** `count` calls have arrived in `spanS` seconds. */
export const observeArrivals = (now: Arrivals, count: number, spanS: number): Arrivals => {
  const measured = count / spanS;
  const expected = predict(now.rate, spanS);
  const noise = (rate: number) => (Math.max(rate, 0) * now.scatter + 0.5 / spanS) / spanS;
  const seen = innovation(expected, 1, 0, measured, noise(expected.a));
  const deviations = deviationsOf(now, seen, expected.a * spanS, count, noise(expected.a));
  const scatter = scatterOf(now, measured, spanS);
  const recent = now.recent + (1 - Math.exp(-spanS / RECENT_S)) * (measured - now.recent);
  const next = { scatter, measured, recent };
  if (Math.abs(deviations) <= GATE) {
    const bias = now.bias + BIAS_MEMORY * (deviations - now.bias);
    const isBiased = Math.abs(bias) > BIAS_GATE * BIAS_DEVIATION;
    // A2.
    const rate = isBiased ? uncertain(expected, noise(expected.a)) : expected;
    const again = isBiased ? innovation(rate, 1, 0, measured, noise(expected.a)) : seen;
    return { ...next, rate: keep(update(rate, 1, 0, again)), bias, before: undefined };
  }
  if (now.before !== undefined) {
    const past = predict(now.before, spanS);
    const again = innovation(past, 1, 0, measured, noise(past.a));
    // It was a burst and not a step.
    if (Math.abs(again.error) < GATE * Math.sqrt(again.variance)) {
      return { ...next, rate: keep(update(past, 1, 0, again)), bias: 0, before: undefined };
    }
  }
  const rate = { a: measured, b: 0, varA: noise(measured), cov: 0, varB: (TREND_DRIFT * measured) ** 2 + 0.01 };
  return { ...next, rate, bias: 0, before: now.before === undefined ? expected : predict(now.before, spanS) };
};

/** Small counts are skewed: upwards they are compared by their square roots, which are nearly normal. */
const deviationsOf = (now: Arrivals, seen: Innovation, expected: number, count: number, noise: number): number => {
  if (seen.error <= 0) return seen.error / Math.sqrt(seen.variance);
  const roots = 2 * (Math.sqrt(count + 0.375) - Math.sqrt(expected + 0.375));
  return roots * Math.sqrt(noise / seen.variance / now.scatter);
};

const uncertain = (rate: Estimate, noise: number): Estimate => {
  const factor = Math.max(1, Math.min(UNCERTAINTY, noise / rate.varA));
  return { ...rate, varA: rate.varA * factor, cov: rate.cov * factor, varB: rate.varB * factor };
};

/** By how two counts in a row differ: a rate that moves slowly has no part in that. */
const scatterOf = (now: Arrivals, measured: number, spanS: number): number => {
  const usual = (Math.max(now.rate.a, 0) + 0.5 / spanS) / spanS;
  const ratio = Math.min(2 * MOST_SCATTER, (measured - now.measured) ** 2 / 2 / usual);
  return Math.min(MOST_SCATTER, Math.max(1, now.scatter + SCATTER_MEMORY * (ratio - now.scatter)));
};

/** The rate in `aheadS` seconds. */
export const forecastArrivals = (now: Arrivals, aheadS: number): number => Math.max(0, predict(now.rate, aheadS).a);

const predict = (now: Estimate, spanS: number): Estimate => {
  const level = Math.max(now.a, 0);
  const fade = Math.exp(-spanS / TREND_S);
  const reach = TREND_S * (1 - fade);
  const drift = (LEVEL_DRIFT * level + LEAST_DRIFT) ** 2 * spanS;
  return {
    a: Math.max(0, now.a + reach * now.b),
    b: now.b * fade,
    varA: now.varA + 2 * reach * now.cov + reach * reach * now.varB + drift,
    cov: fade * (now.cov + reach * now.varB),
    varB: fade * fade * now.varB + (TREND_DRIFT * level + LEAST_DRIFT / 4) ** 2 * spanS,
  };
};

const keep = (rate: Estimate): Estimate => (rate.a >= 0 ? rate : { ...rate, a: 0, b: Math.max(0, rate.b) });
