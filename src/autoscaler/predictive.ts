/**
 * The default policy: learns what a call costs and how many are coming, and asks for the fewest pods with which calls still answer in time
 * when a pod that is started now is ready.
 *
 * P1  Enough for what is coming: as many pods as are worth their cost by the calls that they keep from being late at the forecast rate.
 * P2  Enough for what is there: the backlog that will be left when new pods are ready is drained within what the target leaves.
 * P3  On the way down the most of the last while counts, so that noise doesn't stop and start pods. How long that is, is learnt from how soon
 *     pods were needed again, and from what their start costs: where pods start slowly, peaks that return are waited for.
 * P4  While nothing is measured, a first burst gets few pods: guesses don't start a hundred.
 * P5  A small step down waits until nothing has changed for a while: a pod more or less isn't worth a decision every few seconds.
 */
import type { Arrivals } from "./arrivals.ts";
import { arrivalsStart, forecastArrivals, observeArrivals } from "./arrivals.ts";
import { podsWorth, stretch } from "./queueing.ts";
import type { Returns } from "./returns.ts";
import { keepMs, observeReturns, returnsStart } from "./returns.ts";
import type { Forecast, Sample, ScaleSpec, Step } from "./scale.ts";
import type { Season } from "./season.ts";
import { expectedOf, observeSeason, seasonStart } from "./season.ts";
import type { ServiceTime } from "./service-time.ts";
import { isSaturated, observeService, serviceTimeStart } from "./service-time.ts";

interface Wanted {
  readonly pods: number;
  readonly until: number;
}

interface Asked {
  readonly at: number;
  readonly pods: number;
}

export interface PredictiveState {
  readonly at: number;
  readonly arrivals: Arrivals;
  readonly service: ServiceTime;
  readonly season: Season;
  readonly returns: Returns;
  /** When pods last were asked for or let go of. */
  readonly changedAt: number;
  /** What still counts on the way down; none is both lower and shorter than another. */
  readonly wanted: readonly Wanted[];
  /** The decisions whose pods may not be ready yet. */
  readonly asked: readonly Asked[];
  /** Of the last call that was seen. */
  readonly busyAt: number;
}

const TUNING = {
  /** Pod-seconds that may be spent so that one call less is late, as long as the load stays what it is. */
  worthS: 500,
  /** The same for pods that are kept for a return of the load, which is far less certain. */
  keepWorthS: 8,
  /** How long the most that was wanted counts at the least. */
  holdMs: 10_000,
  /** A step down by a pod or by this part waits until nothing has changed for so many times as long as that. */
  small: 0.1,
  steady: 3,
  /** Of the time that the target leaves, the part in which a backlog is drained. */
  drain: 0.5,
  /** The part of a pod that isn't worth a pod to drain a backlog. */
  bit: 0.3,
} as const;

const UNMEASURED_PODS = 16;
/** So many times as many where there is no second chance, since pods start slowly. */
const MOST_UNMEASURED = 4;
const LEAST_SPAN_MS = 1;

export const predictiveStart = (spec: ScaleSpec, at: number): PredictiveState => ({
  at,
  arrivals: arrivalsStart,
  service: serviceTimeStart(spec),
  season: seasonStart,
  returns: returnsStart,
  changedAt: Number.NEGATIVE_INFINITY,
  wanted: [],
  asked: [],
  busyAt: Number.NEGATIVE_INFINITY,
});

export const predictiveStep = (spec: ScaleSpec, before: PredictiveState, sample: Sample): Step<PredictiveState> => {
  const spanMs = Math.max(LEAST_SPAN_MS, sample.at - before.at);
  const arrivals = observeArrivals(before.arrivals, sample.arrivals, spanMs / 1_000);
  const service = observeService(spec, before.service, sample, spanMs);
  const season = spec.seasonMs > 0 ? observeSeason(before.season, spec.seasonMs, sample.at, sample.arrivals, spanMs) : before.season;
  const isBusy = sample.arrivals + sample.waiting + sample.running > 0;
  const busyAt = isBusy ? sample.at : before.busyAt;
  const plan = planFor(spec, before, { arrivals, service, season }, sample);
  const idleMs = sample.at - busyAt;
  const isIdle = !isBusy && idleMs >= spec.coolDownMs;
  const wanted = isIdle ? [] : hold(before.wanted, sample.at, plan);
  // One pod outlives the traffic by the cool-down.
  const least = isIdle ? 0 : wanted.reduce((most, each) => Math.max(most, each.pods), 1);
  const pods = isRipple(spec, before, sample, least) ? sample.pods : least;
  const changedAt = pods === sample.pods ? before.changedAt : sample.at;
  const returns = service.isMeasured ? observeReturns(before.returns, plan.needed, sample.at, shortestMs(spec)) : before.returns;
  const asked = [...before.asked.filter((each) => each.at > sample.at - spec.startDelayMs), { at: sample.at, pods }];
  const state: PredictiveState = { returns, changedAt, at: sample.at, arrivals, service, season, wanted, asked, busyAt };
  if (isIdle) return { state, pods, reason: `no traffic for ${spec.coolDownMs} ms`, forecast: plan.forecast };
  const reason = pods > Math.max(plan.forRate, plan.forBacklog) ? `cooling down; ${plan.reason}` : plan.reason;
  return { state, pods, reason, forecast: plan.forecast };
};

/** P5. The last pod but one goes at once, since it is half of them. */
const isRipple = (spec: ScaleSpec, before: PredictiveState, sample: Sample, least: number): boolean =>
  least > 1 &&
  sample.pods > least &&
  sample.pods - least <= Math.max(1, TUNING.small * least) &&
  sample.at - before.changedAt < TUNING.steady * shortestMs(spec);

/** P3. */
const hold = (wanted: readonly Wanted[], at: number, { forRate, holdMs, forBacklog, drainMs }: Plan): Wanted[] => {
  const next = [{ pods: forRate, until: at + holdMs }];
  if (forBacklog > forRate) next.push({ pods: forBacklog, until: at + drainMs });
  const isKept = (each: Wanted) => each.until > at && !next.some(({ pods, until }) => pods >= each.pods && until >= each.until);
  return [...wanted.filter(isKept), ...next];
};

type Belief = Pick<PredictiveState, "arrivals" | "service" | "season">;

interface Plan {
  readonly needed: number;
  readonly forRate: number;
  readonly holdMs: number;
  readonly forBacklog: number;
  readonly drainMs: number;
  readonly reason: string;
  readonly forecast: Forecast;
}

const planFor = (spec: ScaleSpec, before: PredictiveState, belief: Belief, sample: Sample): Plan => {
  const spanMs = Math.max(LEAST_SPAN_MS, sample.at - before.at);
  const aheadMs = spec.startDelayMs + spanMs;
  const mean = forecastArrivals(belief.arrivals, aheadMs / 1_000);
  const seasonal = spec.seasonMs > 0 ? expectedOf(belief.season, spec.seasonMs, sample.at + aheadMs) : 0;
  const perS = Math.max(mean, seasonal);
  const { cost, spread, isMeasured } = belief.service;
  const serviceMs = cost.a;
  // What is left for waiting, for a call that itself takes longer than most.
  const leftMs = Math.max(spec.targetMs - cost.b - serviceMs * (1 + 1.3 * Math.sqrt(spread)), 0.1 * serviceMs, 1);
  const unmeasured = UNMEASURED_PODS * Math.max(1, Math.min(MOST_UNMEASURED, Math.floor(aheadMs / leftMs)));
  const limit = (pods: number) => Math.min(pods, spec.max, isMeasured ? spec.max : Math.max(unmeasured, sample.pods));
  const podsOf = (slots: number): number => limit(Math.ceil(slots / spec.slotsPerPod - 1e-9));
  const load = (perS * serviceMs) / 1_000;
  const target = (spec.targetMs - cost.b) / serviceMs;
  const forRate = limit(podsWorth({ load, slotsPerPod: spec.slotsPerPod, target, spread, worth: TUNING.worthS * perS, most: spec.max }));
  // A layer that grows says that more arrive than is believed.
  const soonPerMs = Math.max(perS, sample.waiting > 0 ? belief.arrivals.recent : 0) / 1_000;
  const left = Math.max(0, sample.waiting + soonPerMs * aheadMs - slotTime(spec, before.asked, sample, aheadMs) / serviceMs);
  // The last bit of a pod would be idle after a few calls: the others take a little longer instead.
  const bit = TUNING.bit * spec.slotsPerPod;
  const forBacklog = left === 0 ? 0 : podsOf(soonPerMs * serviceMs + (left * serviceMs) / (leftMs * TUNING.drain) - bit);
  const slots = Math.max(1, forRate, forBacklog) * spec.slotsPerPod;
  const responseMs = cost.b + serviceMs * stretch((perS * serviceMs) / 1_000 / slots, slots) + (left * serviceMs) / slots;
  const forecast = { arrivalsPerS: perS, serviceMs, delayMs: cost.b, responseMs };
  const reason = explain(spec, belief, sample, forecast, forBacklog > forRate ? left : 0);
  const drainMs = aheadMs + leftMs;
  // An outlier that may be taken back at the next look is not held on to.
  const onProbation = belief.arrivals.before !== undefined || !isMeasured;
  const lostPerS = Math.min(perS, (1_000 / serviceMs) * spec.slotsPerPod);
  const holdMs = onProbation ? drainMs : keepMs(before.returns, shortestMs(spec), startCostS(spec, lostPerS, aheadMs - leftMs));
  return { needed: Math.max(forRate, forBacklog), forRate, holdMs, forBacklog, drainMs, reason, forecast };
};

const LEAST_HOLD_MS = 1_000;

const shortestMs = (spec: ScaleSpec): number => Math.max(LEAST_HOLD_MS, Math.min(spec.coolDownMs, TUNING.holdMs));

/** What it costs to give a pod up and to need it again: its start, some idling, and the calls that are late before it is ready. */
const startCostS = (spec: ScaleSpec, callsPerS: number, tooLateMs: number): number =>
  (spec.startDelayMs + shortestMs(spec) + TUNING.keepWorthS * callsPerS * Math.max(0, tooLateMs)) / 1_000;

/** How much time slots will have in the coming while: those that are ready, and those that will be, since they were asked for before. */
const slotTime = (spec: ScaleSpec, asked: readonly Asked[], sample: Sample, aheadMs: number): number => {
  let ready = Math.min(sample.readyPods, sample.pods);
  let sum = ready * aheadMs;
  for (const { at, pods } of asked) {
    const more = Math.min(pods, sample.pods) - ready;
    if (more <= 0) continue;
    ready += more;
    sum += more * Math.min(aheadMs, Math.max(0, aheadMs - (at + spec.startDelayMs - sample.at)));
  }
  return sum * spec.slotsPerPod;
};

const explain = (spec: ScaleSpec, belief: Belief, sample: Sample, forecast: Forecast, backlog: number): string => {
  const rate = `${forecast.arrivalsPerS.toFixed(1)} calls/s of ${forecast.serviceMs.toFixed(0)} ms`;
  if (!belief.service.isMeasured) return `${rate} guessed: nothing is measured yet; ${sample.waiting} wait`;
  const expected = backlog > 0 ? `${rate} and a backlog of ${Math.ceil(backlog)}` : rate;
  if (!isSaturated(spec, sample)) return `${expected} expected`;
  return `saturated: response times mean nothing, by throughput and backlog; ${expected} expected`;
};
