/**
 * Knative's pod autoscaler with its documented defaults: concurrency over a stable window of 60 s and a panic window of 6 s, a look every 2 s,
 * panic from 200 % of the pods that are ready, ×1000 up and ÷2 down a look at most, no way down in panic, to zero after an idle stable window.
 * The 30 s of grace count from when calls go through the activator, which they do while the capacity to spare is below 211, its default.
 */
import type { Sample, ScaleSpec, Step } from "./scale.ts";
import { NO_FORECAST } from "./scale.ts";

export const KPA = {
  tickMs: 2_000,
  stableMs: 60_000,
  panicMs: 6_000,
  panicThreshold: 2,
  maxUp: 1_000,
  maxDown: 2,
  graceMs: 30_000,
  burstCapacity: 211,
} as const;

interface Seen {
  readonly at: number;
  /** Of how much time it tells: a platform measures more often while calls wait, and that must not count for more. */
  readonly spanMs: number;
  readonly inFlight: number;
}

export interface KpaState {
  readonly at: number;
  readonly seen: readonly Seen[];
  readonly lookedAt: number;
  /** Of the last time that the panic window was over its threshold; -1 when there is no panic. */
  readonly panicAt: number;
  readonly panicPods: number;
  /** Since when calls have gone through the activator; -1 when they don't. */
  readonly proxiedSince: number;
  readonly wanted: number;
}

export const kpaStart: KpaState = {
  at: Number.NEGATIVE_INFINITY,
  seen: [],
  lookedAt: Number.NEGATIVE_INFINITY,
  panicAt: -1,
  panicPods: 0,
  proxiedSince: -1,
  wanted: 0,
};

export const kpaStep = (spec: ScaleSpec, before: KpaState, sample: Sample): Step<KpaState> => {
  const state = record(before, sample);
  // The activator wakes the autoscaler at the first call to a function without pods.
  const woken = state.wanted === 0 && sample.waiting + sample.running > 0;
  if (!woken && sample.at - state.lookedAt < KPA.tickMs) return step(state, "between two looks");
  const looked = look(spec, { ...state, lookedAt: sample.at }, sample);
  return woken && looked.pods === 0 ? step({ ...looked.state, wanted: 1 }, "activation") : looked;
};

const look = (spec: ScaleSpec, state: KpaState, sample: Sample): Step<KpaState> => {
  const { at } = sample;
  const ready = Math.max(1, sample.readyPods);
  const target = spec.targetUtilisation * spec.slotsPerPod;
  const stable = average(state.seen, at - KPA.stableMs);
  const panic = average(state.seen, at - KPA.panicMs);
  const bounded = (pods: number) => Math.min(Math.max(pods, Math.floor(ready / KPA.maxDown)), Math.ceil(KPA.maxUp * ready));
  const stablePods = bounded(Math.ceil(stable / target));
  const panicPods = bounded(Math.ceil(panic / target));
  const isOver = Math.ceil(panic / target) / ready >= KPA.panicThreshold;
  const calmed = !isOver && state.panicAt !== -1 && at - state.panicAt > KPA.stableMs;
  const panicAt = isOver ? at : calmed ? -1 : state.panicAt;
  const panicking = panicAt !== -1;
  const most = panicking ? Math.max(state.panicPods, stablePods, panicPods) : 0;
  const next: KpaState = { ...state, panicAt, panicPods: most, proxiedSince: proxied(spec, state, sample, panic) };
  const said = `concurrency ${stable.toFixed(1)} over 60 s, ${panic.toFixed(1)} over 6 s, target ${target.toFixed(1)} a pod`;
  if (panicking) return step({ ...next, wanted: most }, `panic: ${said}`);
  if (stablePods === 0) return toZero(next, at);
  return step({ ...next, wanted: stablePods }, `stable: ${said}`);
};

const toZero = (state: KpaState, at: number): Step<KpaState> => {
  const first = state.seen[0];
  if (first !== undefined && at - first.at < KPA.stableMs - KPA.tickMs) {
    return step({ ...state, wanted: Math.min(1, state.wanted) }, "idle, for less than the stable window");
  }
  const ready = state.proxiedSince !== -1 && at - state.proxiedSince >= KPA.graceMs;
  if (ready) return step({ ...state, wanted: 0 }, "idle for the stable window: to zero");
  return step({ ...state, wanted: Math.min(1, state.wanted) }, "idle: waiting for the activator");
};

const proxied = (spec: ScaleSpec, state: KpaState, sample: Sample, panic: number): number => {
  const spare = sample.readyPods * spec.slotsPerPod - KPA.burstCapacity - panic;
  if (spare >= 0) return -1;
  return state.proxiedSince === -1 ? sample.at : state.proxiedSince;
};

/** While there is no pod nobody reports, and a window that has run out begins anew with the next report. */
const record = (state: KpaState, sample: Sample): KpaState => {
  const isSilent = sample.pods === 0 && sample.inFlight === 0;
  const since = sample.at - KPA.stableMs;
  const seen = state.seen.filter((each) => each.at > since);
  const spanMs = Math.min(Math.max(sample.at - state.at, 1), KPA.tickMs);
  if (!isSilent) seen.push({ at: sample.at, spanMs, inFlight: sample.inFlight });
  return { ...state, at: sample.at, seen };
};

const average = (seen: readonly Seen[], since: number): number => {
  let sum = 0;
  let spanMs = 0;
  for (let i = seen.length - 1; i >= 0; i--) {
    const each = seen[i]!;
    if (each.at <= since) break;
    sum += each.inFlight * each.spanMs;
    spanMs += each.spanMs;
  }
  return spanMs === 0 ? 0 : sum / spanMs;
};

const step = (state: KpaState, reason: string): Step<KpaState> => ({ state, pods: state.wanted, reason, forecast: NO_FORECAST });
