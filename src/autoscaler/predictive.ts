/**
 * The default policy: learns what a call costs and how many are coming, and asks for the fewest pods with which calls still answer in time
 * when a pod that is started now is ready.
 *
 * P1  Enough for what is coming: at the forecast rate few calls wait for longer than the target leaves them; the more calls there are, the
 *     smaller a part of them, since a pod is then worth more.
 * P2  Enough for what is there: the backlog that will be left when new pods are ready is drained within the same time.
 * P3  On the way down the most of the last while counts, so that noise doesn't stop and start pods.
 * P4  While nothing is measured, a first burst gets few pods: guesses don't start a hundred.
 */
import type { Arrivals } from "./arrivals.ts";
import { arrivalsStart, forecastArrivals, observeArrivals } from "./arrivals.ts";
import { fewestServers, longerThan, stretch } from "./queueing.ts";
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
  /** What still counts on the way down; none is both lower and shorter than another. */
  readonly wanted: readonly Wanted[];
  /** The decisions whose pods may not be ready yet. */
  readonly asked: readonly Asked[];
  /** Of the last call that was seen. */
  readonly busyAt: number;
}

const TUNING = {
  /** Pod-seconds that may be spent so that one call less is late. */
  worthS: 600,
  /** The most of the calls that may wait for longer than the target leaves them. */
  late: 0.02,
  /** What waiting may add to the calls that are late of themselves, as a part of them. */
  ofOwn: 0.2,
  /** How long the most that was wanted counts, when a pod starts in the time that the target leaves; longer when it takes longer. */
  holdMs: 10_000,
  /** Of the time that the target leaves, the part in which a backlog is drained. */
  drain: 0.5,
  /** The part of a pod that isn't worth a pod to drain a backlog. */
  bit: 0.3,
} as const;

const UNMEASURED_PODS = 16;
const LEAST_SPAN_MS = 1;

export const predictiveStart = (spec: ScaleSpec, at: number): PredictiveState => ({
  at,
  arrivals: arrivalsStart,
  service: serviceTimeStart(spec),
  season: seasonStart,
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
  const pods = isIdle ? 0 : wanted.reduce((most, each) => Math.max(most, each.pods), 1);
  const asked = [...before.asked.filter((each) => each.at > sample.at - spec.startDelayMs), { at: sample.at, pods }];
  const state: PredictiveState = { at: sample.at, arrivals, service, season, wanted, asked, busyAt };
  if (isIdle) return { state, pods, reason: `no traffic for ${spec.coolDownMs} ms`, forecast: plan.forecast };
  const reason = pods > Math.max(plan.forRate, plan.forBacklog) ? `cooling down; ${plan.reason}` : plan.reason;
  return { state, pods, reason, forecast: plan.forecast };
};

/** P3. */
const hold = (wanted: readonly Wanted[], at: number, { forRate, holdMs, forBacklog, drainMs }: Plan): Wanted[] => {
  const next = [{ pods: forRate, until: at + holdMs }];
  if (forBacklog > forRate) next.push({ pods: forBacklog, until: at + drainMs });
  const isKept = (each: Wanted) => each.until > at && !next.some(({ pods, until }) => pods >= each.pods && until >= each.until);
  return [...wanted.filter(isKept), ...next];
};

type Belief = Pick<PredictiveState, "arrivals" | "service" | "season">;

interface Plan {
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
  const podsOf = (slots: number): number => {
    const pods = Math.ceil(slots / spec.slotsPerPod - 1e-9);
    return Math.min(spec.max, isMeasured ? pods : Math.min(pods, Math.max(UNMEASURED_PODS, sample.pods)));
  };
  const load = (perS * serviceMs) / 1_000;
  // Where many calls are late of themselves, none is spent on the last one that isn't.
  const own = longerThan((spec.targetMs - cost.b) / serviceMs, spread);
  const late = Math.min(TUNING.late, Math.max(1 / (TUNING.worthS * perS), own * TUNING.ofOwn));
  const forRate = podsOf(fewestServers(load, leftMs / serviceMs, late, spread, spec.max * spec.slotsPerPod));
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
  const onProbation = belief.arrivals.before !== undefined;
  const holdMs = onProbation ? drainMs : Math.min(spec.coolDownMs, TUNING.holdMs * Math.max(1, aheadMs / leftMs));
  return { forRate, holdMs, forBacklog, drainMs, reason, forecast };
};

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
