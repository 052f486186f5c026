/**
 * What a call of the function costs: a Kalman filter on (service time s, fixed delay d), after DC2 (Gandhi, Dube, Karve, Kochut and Zhang,
 * "Adaptive, model-driven autoscaling for cloud applications", 2014).
 *
 * Measured are the utilisation, u = λs/c, the response time, R = d + s/(1−u) (with several slots: `stretch`), and, where the platform can,
 * the time inside the pod. Samples are put together into batches, since the mean of a few calls says little and is far from normal.
 *
 * S1  A measurement out of bounds is rejected. Several in a row are a change of the function, after a deploy for instance: uncertainty is let
 *     in, and the filter follows.
 * S2  An update after which s or d would be impossible is rolled back.
 * S3  While the layer grows or pods start, response times tell of the wait and not of the function: they are not used. Utilisation is.
 * S4  As long as nothing has completed, s is at least what the calls that execute have taken already, up to half the target.
 */
import type { Estimate, Innovation } from "./kalman.ts";
import { innovation, update } from "./kalman.ts";
import { stretch } from "./queueing.ts";
import type { Sample, ScaleSpec } from "./scale.ts";

/** Sums over the samples since the last measurement. */
interface Batch {
  readonly completed: number;
  readonly responseMs: number;
  readonly serviceMs: number;
  readonly busyMs: number;
  readonly slotMs: number;
  readonly spanMs: number;
  readonly isSteady: boolean;
}

export interface ServiceTime {
  /** `a` is the service time, `b` the delay, both in milliseconds. */
  readonly cost: Estimate;
  /** The squared coefficient of variation of service times. */
  readonly spread: number;
  /** Whether anything has completed yet. */
  readonly isMeasured: boolean;
  /** Calls that have completed since the start, or since the function changed. */
  readonly seen: number;
  /** When calls last waited for pods that started, or for a layer that grew. */
  readonly unsteadyAt: number;
  /** A moving mean of errors, in standard deviations: 0 as long as the filter keeps up. */
  readonly bias: number;
  /** Batches rejected in a row. */
  readonly rejected: number;
  readonly batch: Batch;
}

const GATE = 4;
const CHANGED = 2;
/** How s wanders within a second, as a part of it. */
const DRIFT = 0.008;
/** The same while its errors stay on one side, within a batch. */
const BIASED_DRIFT = 0.08;
const BIAS_MEMORY = 0.25;
const BIAS_GATE = 2 * Math.sqrt(BIAS_MEMORY / (2 - BIAS_MEMORY));
const SPREAD_MEMORY = 0.02;
const MOST_SPREAD = 9;
/** Before anything is measured: a fifth of the target, to within a factor of a few. */
const GUESS = 0.2;
const BATCH_CALLS = 8;
const BATCH_MS = 10_000;
/** Square milliseconds. */
const LEAST_NOISE = 1;
const LONGEST_STEADY = 4;

const EMPTY: Batch = { completed: 0, responseMs: 0, serviceMs: 0, busyMs: 0, slotMs: 0, spanMs: 0, isSteady: true };

export const serviceTimeStart = (spec: ScaleSpec): ServiceTime => {
  const guess = spec.targetMs * GUESS;
  const cost = { a: guess, b: 0, varA: guess * guess * 9, cov: 0, varB: (guess / 4) ** 2 };
  return { cost, spread: 0.5, isMeasured: false, seen: 0, unsteadyAt: Number.NEGATIVE_INFINITY, bias: 0, rejected: 0, batch: EMPTY };
};

/** Whether response times say nothing of the function any more. */
export const isSaturated = (spec: ScaleSpec, sample: Sample): boolean =>
  sample.utilisation > 0.97 || sample.waiting > Math.max(LONGEST_STEADY, sample.readyPods * spec.slotsPerPod);

export const observeService = (spec: ScaleSpec, before: ServiceTime, sample: Sample, spanMs: number): ServiceTime => {
  const isUnsteady = sample.readyPods === 0 || sample.readyPods < sample.pods || isSaturated(spec, sample);
  const unsteadyAt = isUnsteady ? sample.at : before.unsteadyAt;
  // Calls that complete now may have waited then.
  const isSteady = sample.at - unsteadyAt > spanMs + sample.responseMs;
  const batch = put(before.batch, spec, sample, spanMs, isSteady);
  const now: ServiceTime = { ...before, batch, unsteadyAt, spread: spreadOf(before, sample) };
  if (batch.completed === 0)
    return before.isMeasured
      ? now
      : { ...now, cost: atLeast(now.cost, Math.min(spec.targetMs / 2, batch.busyMs / Math.max(1, sample.running))) };
  const isFull = batch.completed >= Math.max(BATCH_CALLS, sample.running) || batch.spanMs >= BATCH_MS;
  return isFull || !before.isMeasured ? measure(now, spec, sample) : now;
};

const put = (batch: Batch, spec: ScaleSpec, sample: Sample, spanMs: number, isSteady: boolean): Batch => {
  const slotMs = sample.readyPods * spec.slotsPerPod * spanMs;
  return {
    completed: batch.completed + sample.completed,
    responseMs: batch.responseMs + sample.responseMs * sample.completed,
    serviceMs: batch.serviceMs + sample.serviceMs * sample.completed,
    busyMs: batch.busyMs + slotMs * sample.utilisation,
    slotMs: batch.slotMs + slotMs,
    spanMs: batch.spanMs + spanMs,
    isSteady: batch.isSteady && (isSteady || sample.completed === 0),
  };
};

/** S4. */
const atLeast = (cost: Estimate, serviceMs: number): Estimate =>
  serviceMs > cost.a ? { ...cost, a: serviceMs, varA: serviceMs ** 2 } : cost;

interface Measurement {
  readonly ofService: number;
  readonly ofDelay: number;
  readonly value: number;
  readonly noise: number;
}

const measure = (now: ServiceTime, spec: ScaleSpec, sample: Sample): ServiceTime => {
  const found = measurements(now, spec, sample);
  const drift = (DRIFT * now.cost.a) ** 2 * (now.batch.spanMs / 1_000);
  // Errors that stay on one side are the function's and not chance.
  const biased = Math.abs(now.bias) > BIAS_GATE ? (BIASED_DRIFT * now.cost.a) ** 2 : 0;
  const drifted: Estimate = { ...now.cost, varA: now.cost.varA + drift + biased, varB: now.cost.varB + drift / 10 };
  let cost = drifted;
  let isRejected = false;
  let bias = now.bias;
  for (const { ofService, ofDelay, value, noise } of found) {
    const surprise = innovation(cost, ofService, ofDelay, value, noise);
    const deviations = surprise.error / Math.sqrt(surprise.variance);
    if (ofService > 0) bias += BIAS_MEMORY * (deviations - bias);
    if (now.isMeasured && Math.abs(deviations) > GATE) isRejected = true;
    else cost = accept(cost, ofService, ofDelay, surprise);
  }
  const seen = now.seen + now.batch.completed;
  const kept: ServiceTime = { ...now, batch: EMPTY, isMeasured: true, seen, bias };
  if (!isRejected) return { ...kept, cost, rejected: 0 };
  if (now.rejected + 1 < CHANGED) return { ...kept, cost, rejected: now.rejected + 1 };
  const mean = now.batch.responseMs / now.batch.completed;
  // S1: no part of the past is worth more than what was just measured.
  return measure(
    { ...now, isMeasured: false, seen: 0, bias: 0, cost: { ...drifted, varA: drifted.varA + mean * mean, cov: 0 } },
    spec,
    sample,
  );
};

/** S2. */
const accept = (cost: Estimate, ofService: number, ofDelay: number, seen: Innovation): Estimate => {
  const next = update(cost, ofService, ofDelay, seen);
  if (!Number.isFinite(next.a + next.b) || next.a <= 0) return cost;
  return next.b >= 0 ? next : { ...next, b: 0, cov: 0 };
};

const measurements = (now: ServiceTime, spec: ScaleSpec, sample: Sample): Measurement[] => {
  const { completed, busyMs, slotMs, spanMs, isSteady } = now.batch;
  const responseMs = now.batch.responseMs / completed;
  const serviceMs = now.batch.serviceMs / completed;
  const found: Measurement[] = [];
  const base = now.isMeasured ? now.cost.a : Math.max(serviceMs, 0.01);
  const spread = Math.max(now.spread, 0.05);
  const scatter = (spread * base * base) / completed;
  // Calls that began before the batch, or end after it, blur the utilisation law.
  const blur = (base * (now.isMeasured ? Math.sqrt(sample.running + 1) : sample.running + 1)) / completed;
  // Of calls that have just begun, the short ones complete first.
  const early = (base * sample.running) / (2 * (now.seen + completed));
  if (serviceMs > 0) found.push({ ofService: 1, ofDelay: 0, value: serviceMs, noise: scatter + early * early });
  // One and the same calls make both measurements: together they know no more.
  if (busyMs > 0 && (serviceMs === 0 || now.seen < 2 * sample.running)) {
    found.push({ ofService: 1, ofDelay: 0, value: busyMs / completed, noise: scatter + blur * blur });
  }
  if (!isSteady || slotMs === 0) return found;
  const utilisation = busyMs / slotMs;
  const times = 1 + ((1 + spread) / 2) * (stretch(utilisation, Math.max(spec.slotsPerPod, slotMs / spanMs)) - 1);
  // Waits go on from call to call and are mostly none, so that many calls tell hardly more of them than a few.
  const waits = 4 * ((times - 1) * base) ** 2 + LEAST_NOISE;
  // Where s is measured, this tells of the delay alone: steady times are chosen, so their waits are shorter than the mean.
  if (serviceMs > 0) found.push({ ofService: 0, ofDelay: 1, value: responseMs - serviceMs - (times - 1) * now.cost.a, noise: waits });
  else found.push({ ofService: times, ofDelay: 1, value: responseMs, noise: scatter * times * times + waits });
  return found;
};

const spreadOf = ({ isMeasured, spread, cost }: ServiceTime, { serviceMs, completed }: Sample): number => {
  if (!isMeasured || completed === 0 || serviceMs === 0) return spread;
  const one = Math.min(MOST_SPREAD, (completed * (serviceMs - cost.a) ** 2) / (cost.a * cost.a));
  return spread + SPREAD_MEMORY * (one - spread);
};
