/**
 * Kubernetes' horizontal pod autoscaler with its documented defaults: ceil(pods · utilisation / target) every 15 s, nothing within a tolerance
 * of 0.1; up by 100 % or 4 pods per 15 s, whichever is more; down to the highest that was recommended in the last 5 minutes. It never goes
 * below one pod, and at none it is switched off. Pods that aren't ready yet count as idle on the way up.
 */
import type { Sample, ScaleSpec, Step } from "./scale.ts";
import { NO_FORECAST } from "./scale.ts";

export const HPA = { syncMs: 15_000, tolerance: 0.1, downMs: 300_000, upPods: 4, upFactor: 2 } as const;

interface Recommendation {
  readonly at: number;
  readonly pods: number;
}

export interface HpaState {
  readonly syncedAt: number;
  readonly wanted: number;
  /** Sums since the last sync, for the mean utilisation; the weight is the number of ready pods. */
  readonly busy: number;
  readonly weight: number;
  readonly recommended: readonly Recommendation[];
}

export const hpaStart: HpaState = { syncedAt: Number.NEGATIVE_INFINITY, wanted: 1, busy: 0, weight: 0, recommended: [] };

export const hpaStep = (spec: ScaleSpec, before: HpaState, sample: Sample): Step<HpaState> => {
  const weight = before.weight + sample.readyPods;
  const state: HpaState = { ...before, busy: before.busy + sample.utilisation * sample.readyPods, weight };
  if (sample.at - state.syncedAt < HPA.syncMs) return step(state, state.wanted, "between two syncs");
  const synced: HpaState = { ...state, syncedAt: sample.at, busy: 0, weight: 0 };
  if (sample.readyPods === 0 || weight === 0) return step(synced, Math.max(1, sample.pods), "no pod is measured yet");
  const utilisation = state.busy / weight;
  const recommended = recommend(sample, utilisation / spec.targetUtilisation);
  const said = `utilisation ${percent(utilisation)}, target ${percent(spec.targetUtilisation)}`;
  return stabilise(spec, synced, sample, recommended, said);
};

const recommend = (sample: Sample, ratio: number): number => {
  const { pods, readyPods } = sample;
  if (Math.abs(ratio - 1) <= HPA.tolerance) return pods;
  if (ratio < 1 || readyPods >= pods) return Math.ceil(ratio * readyPods - 1e-9);
  const damped = (ratio * readyPods) / pods;
  // Were the pods that start idle, there would be nothing to add.
  return damped <= 1 + HPA.tolerance ? pods : Math.ceil(damped * pods - 1e-9);
};

const stabilise = (spec: ScaleSpec, state: HpaState, sample: Sample, pods: number, said: string): Step<HpaState> => {
  const { at } = sample;
  const bounded = Math.min(Math.max(pods, 1, spec.min), spec.max);
  // At its start it remembers what it found, so that a restart doesn't take pods away.
  const known = state.recommended.length === 0 ? [{ at, pods: sample.pods }] : state.recommended;
  const recommended = [...known.filter((each) => at - each.at < HPA.downMs && each.pods > bounded), { at, pods: bounded }];
  const next: HpaState = { ...state, recommended };
  if (bounded > sample.pods) {
    const limit = Math.max(sample.pods * HPA.upFactor, sample.pods + HPA.upPods);
    return step(next, Math.min(bounded, limit), said);
  }
  const highest = Math.max(...recommended.map((each) => each.pods));
  const wanted = Math.min(sample.pods, highest);
  return step(next, Math.max(1, wanted), wanted > bounded ? `${said}; held by the 5 minutes before` : said);
};

const percent = (part: number): string => `${Math.round(part * 100)} %`;

const step = (state: HpaState, wanted: number, reason: string): Step<HpaState> => {
  return { state: { ...state, wanted }, pods: wanted, reason, forecast: NO_FORECAST };
};
