/**
 * How many pods a function should have: the policies, behind one pure function.
 *
 * Owns: the choice of the policy, bounds, defence against measurements that are no numbers. Does not own: measuring, and carrying out what is
 * decided, including the activation of a function without pods, for which nobody waits until the next sample.
 *
 * D1  The same specification and samples give the same decisions.
 * D2  min ≤ pods ≤ max, always.
 */
import type { HpaState } from "./hpa.ts";
import { hpaStart, hpaStep } from "./hpa.ts";
import type { KpaState } from "./kpa.ts";
import { kpaStart, kpaStep } from "./kpa.ts";
import type { PredictiveState } from "./predictive.ts";
import { predictiveStart, predictiveStep } from "./predictive.ts";
import type { Decision, Sample, ScaleSpec, Step } from "./scale.ts";
import { NO_FORECAST } from "./scale.ts";
import type { ThresholdState } from "./threshold.ts";
import { thresholdStart, thresholdStep } from "./threshold.ts";

/** All that is remembered of a function; plain data. */
export type ScalerState =
  | { readonly policy: "predictive"; readonly state: PredictiveState }
  | { readonly policy: "threshold"; readonly state: ThresholdState }
  | { readonly policy: "kpa"; readonly state: KpaState }
  | { readonly policy: "hpa"; readonly state: HpaState };

/** `at` is when the time begins of which the first sample tells. */
export const scalerStart = (spec: ScaleSpec, at: number): ScalerState => {
  if (spec.policy === "predictive") return { policy: "predictive", state: predictiveStart(spec, at) };
  if (spec.policy === "threshold") return { policy: "threshold", state: thresholdStart };
  if (spec.policy === "kpa") return { policy: "kpa", state: kpaStart };
  return { policy: "hpa", state: hpaStart };
};

/** Takes one sample in and decides. A specification with another policy than the state's begins anew. */
export const scalerStep = (spec: ScaleSpec, before: ScalerState, measured: Sample): Step<ScalerState> => {
  const sample = sane(measured);
  const scaler = before.policy === spec.policy ? before : scalerStart(spec, sample.at);
  const { state, pods, reason, forecast } = stepOf(spec, scaler, sample);
  const bounded = bound(spec, pods);
  if (bounded === pods) return { state, pods, reason, forecast };
  return { state, pods: bounded, reason: `${reason}; ${bounded < pods ? "at its maximum" : "at its minimum"}`, forecast };
};

const stepOf = (spec: ScaleSpec, scaler: ScalerState, sample: Sample): Step<ScalerState> => {
  if (scaler.policy === "predictive") {
    const { state, ...decision } = predictiveStep(spec, scaler.state, sample);
    return { ...decision, state: { policy: "predictive", state } };
  }
  if (scaler.policy === "threshold") {
    const { state, ...decision } = thresholdStep(spec, scaler.state, sample);
    return { ...decision, state: { policy: "threshold", state } };
  }
  if (scaler.policy === "kpa") {
    const { state, ...decision } = kpaStep(spec, scaler.state, sample);
    return { ...decision, state: { policy: "kpa", state } };
  }
  const { state, ...decision } = hpaStep(spec, scaler.state, sample);
  return { ...decision, state: { policy: "hpa", state } };
};

/** What the samples up to `now`, in their order, lead to. For tests and for explaining; a platform goes step by step with a Scaler. */
export const decide = (spec: ScaleSpec, samples: readonly Sample[], now: number): Decision => {
  const first = samples[0];
  if (first === undefined) return { pods: bound(spec, 0), reason: "nothing is measured yet", forecast: NO_FORECAST };
  const second = samples[1];
  let scaler = scalerStart(spec, first.at - (second === undefined ? DEFAULT_SPAN_MS : second.at - first.at));
  let decision: Decision = { pods: bound(spec, 0), reason: "nothing is measured yet", forecast: NO_FORECAST };
  for (const sample of samples) {
    if (sample.at > now) break;
    const { state, pods, reason, forecast } = scalerStep(spec, scaler, sample);
    scaler = state;
    decision = { pods, reason, forecast };
  }
  return decision;
};

const DEFAULT_SPAN_MS = 1_000;

/** The scaler of one function. */
export class Scaler {
  #spec: ScaleSpec;
  #state: ScalerState;

  constructor(spec: ScaleSpec, at: number) {
    this.#spec = spec;
    this.#state = scalerStart(spec, at);
  }

  /** A new version's specification; what was learnt stays, unless the policy is another one. */
  configure(spec: ScaleSpec): void {
    this.#spec = spec;
  }

  decide(sample: Sample): Decision {
    const { state, pods, reason, forecast } = scalerStep(this.#spec, this.#state, sample);
    this.#state = state;
    return { pods, reason, forecast };
  }
}

const bound = (spec: ScaleSpec, pods: number): number => {
  const whole = Number.isFinite(pods) ? Math.round(pods) : pods > 0 ? spec.max : spec.min;
  return Math.min(Math.max(whole, spec.min), spec.max);
};

const atLeast0 = (value: number): number => (Number.isFinite(value) && value > 0 ? value : 0);

const sane = (sample: Sample): Sample => ({
  at: sample.at,
  arrivals: atLeast0(sample.arrivals),
  completed: atLeast0(sample.completed),
  waiting: atLeast0(sample.waiting),
  running: atLeast0(sample.running),
  inFlight: atLeast0(sample.inFlight),
  pods: atLeast0(sample.pods),
  readyPods: atLeast0(sample.readyPods),
  responseMs: atLeast0(sample.responseMs),
  serviceMs: atLeast0(sample.serviceMs),
  utilisation: Math.min(1, atLeast0(sample.utilisation)),
});
